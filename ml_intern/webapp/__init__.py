"""The web app: the same session in a browser, for one person on this machine or for several with a login.

Everything is kept on the server; a page only asks for what came after the last thing that it drew.
"""
