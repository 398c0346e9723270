"""What the voting screen says by itself, in the language of the request; {braces} are filled in there."""

from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext as _

from annotations.models import Campaign


@dataclass(frozen=True)
class WayOn:
    """What a person can do who may not vote just now; why not is said by the refusal itself."""

    title: str
    label: str
    address: str

    may_pass: bool = True
    """Whether what stands in the way may be gone the next time, without this person doing anything."""


def ways_on(campaign: Campaign) -> dict[str, WayOn]:
    """By the code of the refusal; "refused" stands for all others."""
    home, done = reverse("annotations:home"), reverse("annotations:done", args=[campaign.slug])
    entry = campaign.get_absolute_url()
    return {
        "consent_needed": WayOn(_("One thing before you go on"), _("Read and agree"), f"{entry}consent/"),
        "cap_reached": WayOn(_("That is all we ask of one person"), _("See how it went"), done, may_pass=False),
        "campaign_not_running": WayOn(_("The campaign is resting"), _("Other campaigns"), home),
        "annotator_paused": WayOn(_("Your voting is paused"), _("Other campaigns"), home),
        "annotator_excluded": WayOn(_("You can no longer vote here"), _("Back to the start"), home),
        "invite_needed": WayOn(_("By invitation"), _("About this campaign"), entry),
        "place_given_back": WayOn(_("Your place was given to somebody else"), _("Back to the start"), home),
        "refused": WayOn(_("This does not go on just now"), _("About this campaign"), entry),
    }


def key_actions(campaign: Campaign) -> dict[str, str]:
    """What can be done by a key in this campaign, in the order of the list of keys."""
    actions = {str(n): _("Choose image {n}").format(n=n) for n in range(1, campaign.candidates + 1)}
    if campaign.candidates == 2:
        actions |= {"left": _("Choose the image on the left"), "right": _("Choose the image on the right")}
    if campaign.allows_tie:
        actions["tie"] = _("No clear winner")
    if campaign.allows_all_bad:
        actions["all_bad"] = _("All bad")
    return actions | {
        "skip": _("Skip"),
        "flag": _("Flag, then the number of the reason"),
        "zoom": _("Enlarge all images (also while held down)"),
        "flicker": _("Compare at one place, pixel by pixel"),
        "undo": _("Undo the last vote"),
        "help": _("These keys"),
    }


def texts() -> dict[str, str]:
    """What is said while people vote."""
    return {
        "image": _("Image {n}"),
        "progress": _("{voted} voted, {left} left"),
        "recorded_choice": _("Recorded: image {n}."),
        "recorded_tie": _("Recorded: no clear winner."),
        "recorded_all_bad": _("Recorded: all bad."),
        "recorded_skip": _("Skipped."),
        "recorded_flag": _("Flagged. Thank you. You will not see these images again."),
        "said_tie": _("No clear winner"),
        "said_all_bad": _("All bad"),
        "said_skip": _("Skipped"),
        "said_flag": _("Flagged"),
        "undone": _("Undone. The same images again."),
        "nothing_to_undo": _("There is no vote to undo."),
        "one_waiting": _("1 vote waiting to be sent"),
        "many_waiting": _("{n} votes waiting to be sent"),
        "loading": _("Loading the next images…"),
        "offline": _("No connection. Your votes are safe on this device and are sent as soon as it is back."),
        "undo_offline": _("This vote is on its way. It can be undone when the connection is back."),
        "not_taken": _("A vote was not taken: {detail}"),
        "login": _("You are logged out. Log in again to send your votes."),
        "seconds": _("{n} s"),
        "too_early": _("Please look a little longer: this can be said in {n} s."),
        "tie_ready": _("That there is no clear winner can be said now."),
        "practice_right": _("Right: image {n} is the better one."),
        "practice_wrong": _("Nearly everybody would choose image {n} here."),
        "practice_over_title": _("Now the real ones"),
        "practice_over_text": _("From here on there is no right answer: choose what you prefer."),
        "break_title": _("You have done {n}. Take a moment."),
        "break_text": _("Look out of the window, stretch, drink something. Nothing runs out meanwhile."),
        "whole_prompt": _("Show the whole text"),
        "less_prompt": _("Show less"),
        "press_key": _("Press a key…"),
        "key_taken": _("{key} is used already: {action}. Choose another key, or change that one first."),
        "key_kept": _("{key} is needed by the browser. Choose another key."),
        "key_set": _("{action}: {key}"),
        "keys_reset": _("All keys are as they were at first."),
    }
