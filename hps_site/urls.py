"""Every address of the site."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from django.utils.translation import gettext_lazy as _
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from annotations.forms import LoginForm
from annotations.views.throttling import throttled_login
from hps_site import health

log_in = LoginView.as_view(authentication_form=LoginForm, redirect_authenticated_user=True)
admin.site.site_header = admin.site.site_title = _("Human Preference Score")
admin.site.index_title = _("Records")

urlpatterns = [
    path("", include("annotations.urls")),
    path("", include("worker.urls")),
    path("dashboard/", include("hps_site.dashboard.urls")),
    path("accounts/login/", throttled_login(log_in), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("admin/login/", throttled_login(admin.site.login)),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("api/v1/", include("hps_site.api")),
    path("api/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="api-schema"), name="api-docs"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
]
