"""Addresses of what this room offers to programs."""

from django.urls import path

from annotations.api import lists, views

urlpatterns = [
    path("campaigns/<slug:slug>/claims", views.Claims.as_view(), name="api-claims"),
    path("campaigns/<slug:slug>/heartbeat", views.Heartbeat.as_view(), name="api-heartbeat"),
    path("campaigns/<slug:slug>/release", views.Release.as_view(), name="api-release"),
    path("campaigns/<slug:slug>/progress", views.MyProgress.as_view(), name="api-progress"),
    path("votes", lists.Votes.as_view(), name="api-votes"),
    path("votes/<uuid:public_id>/undo", views.Undo.as_view(), name="api-undo"),
    path("images", lists.Images.as_view(), name="api-images"),
    path("prompts", lists.Prompts.as_view(), name="api-prompts"),
    path("generators", lists.Generators.as_view(), name="api-generators"),
]
