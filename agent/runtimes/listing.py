"""Which packages does a Python see, as ``pip freeze`` would say it?

Asked of that Python itself, by its standard library alone: an environment need not have pip.
"""

from __future__ import annotations

LIST = """
import importlib.metadata, json, os, re, sys

def line(one):
    name, version = one.metadata["Name"], one.version
    direct = json.loads(one.read_text("direct_url.json") or "{}")
    url = re.sub("//[^/@]*@", "//", direct.get("url", ""))
    commit = direct.get("vcs_info", {}).get("commit_id", "")
    if commit:
        url = direct["vcs_info"].get("vcs", "git") + "+" + url + "@" + commit
    return name + " @ " + url if url else name + "==" + version

found = {}
for one in importlib.metadata.distributions():
    try:
        key = re.sub("[-_.]+", "-", one.metadata["Name"]).lower()
        found.setdefault(key, line(one))
    except Exception:
        continue
found.pop("pip", None)
lines = [found[key] for key in sorted(found)]
meta = os.path.join(sys.prefix, "conda-meta")
names = sorted(os.listdir(meta)) if os.path.isdir(meta) else []
lines += ["# conda: " + name[:-5] for name in names if name.endswith(".json")]
sys.stdout.write("".join(text + "\\n" for text in lines))
"""
"""For ``python -c``; Python 3.8 and newer. The first of a name is the one that is imported."""
