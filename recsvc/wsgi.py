"""The entry point under gunicorn: ``recsvc.wsgi:app``. The worker starts ``services`` (see ``gunicorn_conf.py``)."""

from __future__ import annotations

from recsvc.app import create_app
from recsvc.services import build_services
from recsvc.settings import settings_from

settings = settings_from()
services = build_services(settings)
app = create_app(settings, services)
