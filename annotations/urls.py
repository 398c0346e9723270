"""Addresses of the pages on which people choose."""

from django.urls import path

from annotations import views

app_name = "annotations"
urlpatterns = [
    path("", views.home, name="home"),
    path("accounts/register/", views.Register.as_view(), name="register"),
    path("c/<slug:slug>/", views.campaign, name="campaign"),
    path("c/<slug:slug>/vote/", views.vote, name="vote"),
    path("c/<slug:slug>/undo/", views.undo, name="undo"),
    path("c/<slug:slug>/done/", views.done, name="done"),
    path("c/<slug:slug>/join/<str:code>/", views.join, name="join"),
    path("images/<uuid:public_id>", views.image, name="image"),
]
