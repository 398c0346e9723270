"""Which campaign a page is about."""

from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from annotations.models import Campaign


def campaign_for(request: HttpRequest, slug: str) -> Campaign:
    campaigns = (
        Campaign.objects.all() if request.user.is_staff else Campaign.objects.exclude(state=Campaign.State.DRAFT)
    )
    return get_object_or_404(campaigns, slug=slug)
