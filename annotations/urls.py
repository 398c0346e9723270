"""Addresses of the pages on which people choose."""

from django.urls import path

from annotations.views import entry, images, voting

app_name = "annotations"
urlpatterns = [
    path("", entry.home, name="home"),
    path("accounts/register/", entry.Register.as_view(), name="register"),
    path("c/<slug:slug>/", entry.campaign, name="campaign"),
    path("c/<slug:slug>/vote/", voting.vote, name="vote"),
    path("c/<slug:slug>/undo/", voting.undo, name="undo"),
    path("c/<slug:slug>/done/", entry.done, name="done"),
    path("c/<slug:slug>/join/<str:code>/", entry.join, name="join"),
    path("images/<uuid:public_id>", images.image, name="image"),
]
