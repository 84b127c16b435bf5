"""Which addresses are about limits, and about who did what?"""

from __future__ import annotations

from schemas.access import Action
from schemas.audit import AuditList
from ui.api import audit, quotas
from ui.operations import API, Operation, Query
from ui.quota_views import QuotaBody, QuotaList, QuotaView

AUDIT = (
    Query("who", "Only what this user (or machine) did."),
    Query("deed", "Only these deeds, repeated or joined by commas: submit,cancel"),
    Query("target", "To be found in the name of what it was done to."),
    Query("since", "Noted from then on: an ISO time, Unix seconds, or 10m ago."),
    Query("until", "Noted before then."),
    Query("before", "Only entries before this sequence: the answer's own, for older ones."),
    Query("after", "Only entries after this sequence: the answer's last, for new ones."),
    Query("limit", "At most this many, 1 to 500; 100.", "integer"),
)
OVERSIGHT_OPERATIONS = (
    Operation(
        "GET",
        f"{API}/quota",
        quotas.show_own_quota,
        "Your limits, and what you use of them.",
        QuotaView,
        problems=(401, 503),
        tag="quotas",
        action=Action.SIGNED_IN,
    ),
    Operation(
        "GET",
        f"{API}/quotas",
        quotas.list_quotas,
        "The limits of everybody, and of those who have their own.",
        QuotaList,
        problems=(401, 403, 503),
        tag="quotas",
        action=Action.ADMIN,
    ),
    Operation(
        "GET",
        f"{API}/quotas/{{user}}",
        quotas.show_quota,
        "One user's limits, and what they use of them.",
        QuotaView,
        problems=(401, 403, 404, 503),
        tag="quotas",
        action=Action.ADMIN,
    ),
    Operation(
        "PUT",
        f"{API}/quotas/{{user}}",
        quotas.set_quota,
        "Set limits of one user; what is not named stays.",
        QuotaView,
        body=QuotaBody,
        problems=(401, 403, 404, 422, 503),
        tag="quotas",
        action=Action.ADMIN,
    ),
    Operation(
        "GET",
        f"{API}/audit",
        audit.list_audit,
        "Who did what and when, newest first.",
        AuditList,
        query=AUDIT,
        problems=(401, 403, 422, 503),
        tag="audit",
        action=Action.ADMIN,
    ),
)
