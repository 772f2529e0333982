"""References between objects: selectors, ports and disruption budgets match existing ones."""

from __future__ import annotations

from tests.k8s.composition import Object
from tests.k8s.stacks import WORKERS, Stack, pod, pod_labels


def test_selectors_fit_what_they_select(each: Stack) -> None:
    for workload in each.workloads:
        if workload["kind"] != "Job":
            assert _fits(workload["spec"]["selector"]["matchLabels"], pod_labels(workload))
            assert _selected(each, workload["spec"]["selector"]["matchLabels"]) == [workload]
        for spread in pod(workload).get("topologySpreadConstraints", []):
            assert _selected(each, spread["labelSelector"]["matchLabels"]) == [workload]


def test_services_lead_to_a_port_that_is_there(each: Stack) -> None:
    for service in each.of_kind("Service"):
        (workload,) = _selected(each, service["spec"]["selector"])
        names = {port["name"] for one in pod(workload)["containers"] for port in one["ports"]}
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in names


def test_pods_of_one_kind_are_spread_and_one_at_a_time_may_be_taken_away(each: Stack) -> None:
    budgets = each.of_kind("PodDisruptionBudget")
    for role in ("api", *WORKERS):
        workload = each.of_role(role)
        keys = {one["topologyKey"] for one in pod(workload)["topologySpreadConstraints"]}
        assert keys == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
        (budget,) = [
            one
            for one in budgets
            if _selected(each, one["spec"]["selector"]["matchLabels"]) == [workload]
        ]
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_every_budget_allows_a_drain_and_selects_pods(each: Stack) -> None:
    operated = {cluster["metadata"]["name"] for cluster in each.of_kind("RabbitmqCluster")}
    for budget in each.of_kind("PodDisruptionBudget"):
        assert "minAvailable" not in budget["spec"]
        wanted = budget["spec"]["selector"]["matchLabels"]
        assert _selected(each, wanted) or wanted["app.kubernetes.io/name"] in operated


def _selected(each: Stack, wanted: dict[str, str]) -> list[Object]:
    return [workload for workload in each.workloads if _fits(wanted, pod_labels(workload))]


def _fits(wanted: dict[str, str], labels: dict[str, str]) -> bool:
    return wanted.items() <= labels.items()
