"""What does Stoker keep of its promises while its parts are killed? ``make bench-chaos``"""
