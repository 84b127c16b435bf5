"""How fast and how small is Stoker, beside the bare machine and its peers?"""
