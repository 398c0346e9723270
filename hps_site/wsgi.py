"""What gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hps_site.settings")
# A page that takes longer than this helps nobody; commands and jobs may take their time.
os.environ.setdefault("DATABASE_STATEMENT_TIMEOUT_MS", "15000")

application = get_wsgi_application()
