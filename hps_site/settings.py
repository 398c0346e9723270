"""The settings: every value that differs between installations comes from the environment (see .env.example)."""

from pathlib import Path
from urllib.parse import urlsplit

from csp.constants import NONE, SELF
from django.utils.translation import gettext_lazy as _
from redis.backoff import NoBackoff
from redis.retry import Retry

from hps_site import embedded, environment

# Paths

BASE_DIR = Path(__file__).resolve().parent.parent
HPS_SITE_HOME = embedded.default_home()
MEDIA_ROOT = HPS_SITE_HOME / "media"
ARTEFACTS_DIR = HPS_SITE_HOME / "artefacts"
CACHE_DIR = HPS_SITE_HOME / "cache"
# The models that trainings and generators start from, by the names that presets use; the demo brings the tiny ones.
BASE_MODEL_NAMES = ("tiny-clip", "tiny-diffusion", "clip-vit-l-14", "clip-vit-h-14", "stable-diffusion-v1-4")
BASE_MODELS = {name: HPS_SITE_HOME / "base-models" / name for name in BASE_MODEL_NAMES}

# Environment

DEBUG = environment.truth("DEBUG")
SECRET_KEY = environment.secret_key(HPS_SITE_HOME)
SITE_URL = environment.origin("SITE_URL", "http://127.0.0.1:8000")
IS_HTTPS = SITE_URL.startswith("https://")
ALLOWED_HOSTS = environment.words(
    "ALLOWED_HOSTS", [urlsplit(SITE_URL).hostname or "", "localhost", "127.0.0.1", "[::1]"]
)
DEVICE = environment.text("DEVICE", "auto")
HUB_DOWNLOADS = environment.truth("HUB_DOWNLOADS")
INCEPTION_WEIGHTS = environment.text("INCEPTION_WEIGHTS")
SCORER_MODULES = environment.words("SCORER_MODULES", [])
METRICS_TOKEN = environment.text("METRICS_TOKEN")
TRUSTED_PROXIES = environment.whole_number("TRUSTED_PROXIES", 0)

# Apps

INSTALLED_APPS = [
    "hps_site",
    "hps_site.dashboard",
    "worker",
    "annotations",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "hps_site.apps.CollectedFilesConfig",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "knox",
    "csp",
    "django_htmx",
    "template_partials",
]

ROOT_URLCONF = "hps_site.urls"
WSGI_APPLICATION = "hps_site.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

LANGUAGE_CODE = "en"
# The annotators' pages are complete in each of these (tests/test_translations.py); those of staff are in English.
LANGUAGES = [
    ("en", _("English")),
    ("es", _("Spanish")),
    ("fr", _("French")),
    ("zh-hans", _("Simplified Chinese")),
    ("hi", _("Hindi")),
    ("ar", _("Arabic")),
]
LOCALE_PATHS = [BASE_DIR / "annotations" / "locale"]
FORMAT_MODULE_PATH = "hps_site.formats"
# For languages without a form of their own.
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = "j M Y, H:i"
TIME_ZONE = "UTC"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
        "knox.auth.TokenAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "hps_site.pagination.NewestFirst",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "hps-site",
    "DESCRIPTION": "Choices between images, the scores learnt from them, and the runs that learn.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    # One set of values has one name, wherever it stands.
    "ENUM_NAME_OVERRIDES": {"OutcomeEnum": "annotations.models.Outcome"},
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# Middleware

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

# Database. Votes and sessions are here and only here: without Redis people can still sign in and vote.

DATABASES = {
    "default": environment.database(environment.text("DATABASE_URL") or embedded.database_url(HPS_SITE_HOME))
    | {"CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": True},
}
DATABASES["default"]["OPTIONS"] |= {
    "pool": {"min_size": 1, "max_size": environment.whole_number("DATABASE_POOL_SIZE", 16), "timeout": 10},
    "options": environment.options_of_sessions(
        {
            "statement_timeout": environment.whole_number("DATABASE_STATEMENT_TIMEOUT_MS", 0),
            "lock_timeout": 10_000,
            "idle_in_transaction_session_timeout": 60_000,
        }
    ),
}

REDIS_URL = environment.text("REDIS_URL") or embedded.redis_url(HPS_SITE_HOME)
CACHES = {
    "default": {
        "BACKEND": "hps_site.cache.DispensableRedisCache",
        "LOCATION": environment.text("REDIS_CACHE_URL") or environment.next_redis_database(REDIS_URL),
        # One try within one second: nobody's page waits for a cache that is away.
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1, "retry": Retry(NoBackoff(), 0)},
    },
}
SESSION_ENGINE = "django.contrib.sessions.backends.db"

# Celery. The database is the queue and Celery the doorbell: a lost message is rung again, a doubled one finds no work.

CELERY_BROKER_URL = environment.broker_url(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_REJECT_ON_WORKER_LOST = False
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# A blip of Redis must not kill hours of training: measured, and to be the default of Celery 6.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 60
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Celery reads the timeout in three places.
CELERY_VISIBILITY_TIMEOUT = 3600
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": CELERY_VISIBILITY_TIMEOUT,
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "health_check_interval": 25,
    "max_retries": 1,  # a request that rings must not wait for a Redis that is down
}
CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"visibility_timeout": CELERY_VISIBILITY_TIMEOUT}
CELERY_BEAT_SCHEDULE = {
    "sweep-runs": {"task": "worker.sweep_runs", "schedule": 10.0, "options": {"expires": 10}},
    "sweep-uploads": {"task": "worker.sweep_uploads", "schedule": 600.0, "options": {"expires": 600}},
    "give-back-places": {"task": "worker.give_back_places", "schedule": 300.0, "options": {"expires": 300}},
}
CELERY_BEAT_SCHEDULE_FILENAME = str(HPS_SITE_HOME / "beat-schedule")
CELERY_TIMEZONE = TIME_ZONE

# Files

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = environment.text("STATIC_ROOT") or None
# Where nothing was collected, files are served straight from the checkout and the packages.
WHITENOISE_USE_FINDERS = STATIC_ROOT is None

MEDIA_URL = "media/"
MEDIA_BUCKET = environment.text("MEDIA_BUCKET")
MEDIA_ENDPOINT = environment.text("MEDIA_ENDPOINT")
# The prefix under which nginx hands out media that a view allowed; empty: the view sends the file itself.
MEDIA_ACCEL_PREFIX = environment.text("MEDIA_ACCEL_PREFIX")
# Uploads that wait to be read, in parts of 8 MiB: one at most, and all of them together.
UPLOAD_MAX_BYTES = environment.whole_number("UPLOAD_MAX_GB", 20) * 10**9
UPLOAD_QUOTA_BYTES = environment.whole_number("UPLOAD_QUOTA_GB", 100) * 10**9
# Where imports may read from, beside uploads. Nobody who uses the site can name another address or bucket.
IMPORT_BUCKETS = environment.words("IMPORT_BUCKETS", [])
IMPORT_ENDPOINT = environment.text("IMPORT_ENDPOINT") or MEDIA_ENDPOINT
FILE_UPLOAD_PERMISSIONS = 0o640
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o750

_collected = {
    "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage",
    # Unlike uploads, static files are for everyone, and often collected by another user than serves them.
    "OPTIONS": {"file_permissions_mode": 0o644, "directory_permissions_mode": 0o755},
}
_in_place = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
_folder = {"BACKEND": "django.core.files.storage.FileSystemStorage"}
_bucket = {
    "BACKEND": "storages.backends.s3.S3Storage",
    "OPTIONS": {
        "bucket_name": MEDIA_BUCKET,
        "endpoint_url": MEDIA_ENDPOINT or None,
        "signature_version": "s3v4",
        "file_overwrite": False,
    },
}
STORAGES = {
    "default": _bucket if MEDIA_BUCKET else _folder,
    "staticfiles": _collected if STATIC_ROOT else _in_place,
}

# Security

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "/"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
CSRF_TRUSTED_ORIGINS = [SITE_URL]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_HTTPS
SECURE_SSL_REDIRECT = IS_HTTPS
# The probes of the machines around the site speak plain HTTP to it.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if IS_HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if IS_HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# HSTS for all subdomains, and the preload list, are for the owner of the whole domain to decide.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

_media_origins = list(filter(None, [environment.origin("MEDIA_ENDPOINT")]))
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:", "blob:", *_media_origins],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}

# Logging

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": environment.text("LOG_LEVEL", "INFO").upper()},
    "loggers": {
        "django": {"handlers": [], "propagate": True},
        "django.request": {"level": "ERROR"},  # what visitors ask for in vain is no news
        "celery": {"level": "WARNING"},  # the sweep comes every ten seconds; runs have their own lines
    },
}
