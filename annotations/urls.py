"""Addresses of the pages on which people choose."""

from django.urls import path

from annotations.views import entry, images, people, recruiting, voting
from annotations.views.throttling import throttled_registration

app_name = "annotations"
urlpatterns = [
    path("", entry.home, name="home"),
    path("accounts/register/", throttled_registration(entry.Register.as_view()), name="register"),
    path("c/<slug:slug>/", entry.campaign, name="campaign"),
    path("c/<slug:slug>/vote/", voting.vote, name="vote"),
    path("c/<slug:slug>/undo/", voting.undo, name="undo"),
    path("c/<slug:slug>/done/", entry.done, name="done"),
    path("c/<slug:slug>/join/<str:code>/", entry.join, name="join"),
    path("c/<slug:slug>/recruit/<str:code>/", recruiting.recruit, name="recruit"),
    path("c/<slug:slug>/recruit/<str:code>/mturk/", recruiting.mturk_frame, name="mturk"),
    path("c/<slug:slug>/consent/", people.consent, name="consent"),
    path("c/<slug:slug>/goodbye/", people.goodbye, name="goodbye"),
    path("c/<slug:slug>/about-you/", people.about_you, name="about-you"),
    path("c/<slug:slug>/finish/", people.finish, name="finish"),
    path("c/<slug:slug>/leave/", people.leave, name="leave"),
    path("me/", people.me, name="me"),
    path("me/about-you/", people.my_answers, name="my-answers"),
    path("me/data.json", people.my_data, name="my-data"),
    path("me/erase/", people.erase_me, name="erase"),
    path("me/erased/", people.erased, name="erased"),
    path("images/<uuid:public_id>", images.image, name="image"),
]
