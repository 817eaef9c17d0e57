from support.web_fixtures import make_web, serve  # noqa: F401
