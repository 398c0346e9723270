"""What a study would ask of people, and what an adapter's page shows beside that of any version."""

from typing import Any

from scoring.power import PairPlan
from worker import queries
from worker.forms.studies import EFFECTS, StudyForm, default_plan
from worker.models import ModelVersion
from worker.proof_tables import proof_tables
from worker.services.adapters import original_of

# What a vote takes where nobody has voted yet, in seconds.
USUAL_SECONDS = 6.0


def adapter_context(version: ModelVersion) -> dict[str, Any]:
    """What the page of an adapter shows beside that of any version: the latest proof, and the study it would get."""
    original = original_of(version)
    plan = default_plan(original) if original else None
    proof = queries.latest_proof(version)
    return {
        "original": original,
        "proof_run": proof,
        "references": queries.generators_with_images(),
        "proof": proof_tables(proof.metrics) if proof else None,
        "studies": version.studies.select_related("campaign", "original").order_by("-pk"),
        "plan": plan,
        "effects": EFFECTS,
        **(_cost_of(plan, is_synthetic=version.is_synthetic) if plan else {}),
    }


def plan_of(form: StudyForm) -> dict[str, Any]:
    """The plan of what was filled in, or why there is none; nothing before both generators are chosen."""
    if form.is_valid():
        plan, original = form.cleaned_data["plan"], form.cleaned_data["original"]
        cost = _cost_of(plan, is_synthetic=original.is_synthetic)
        return {"plan": plan, "available": form.cleaned_data["available"], **cost}
    is_chosen = form.data.get("original") and (form.data.get("version") or form.data.get("adapted"))
    problems = [message for messages in form.errors.values() for message in messages]
    return {"problems": problems if is_chosen else []}


def _cost_of(plan: PairPlan, *, is_synthetic: bool) -> dict[str, Any]:
    """What a plan asks of people."""
    measured = queries.seconds_per_vote(is_synthetic=is_synthetic)
    seconds = measured or USUAL_SECONDS
    return {"seconds": seconds, "is_measured": measured is not None, "hours": plan.votes * seconds / 3600}
