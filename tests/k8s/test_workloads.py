"""Workloads: every pod is confined, bounded, of one version, and started as in `make up`."""

from __future__ import annotations

import re

from api.openapi.document import build_document
from runtime.commands import app_commands
from testing.servers.shared import ROOT
from tests.k8s.stacks import ROLES, WORKERS, Stack, containers, pod, role_of, stack


def test_every_part_of_the_application_has_a_workload(each: Stack) -> None:
    found = [role for workload in each.workloads if (role := role_of(workload))]
    assert sorted(found) == sorted(ROLES)


def test_nothing_runs_as_root_or_may_become_it(each: Stack) -> None:
    for workload in each.workloads:
        context = pod(workload)["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["runAsGroup"] > 0
        # Volumes belong to the group, so that a process that is not root can write to them.
        assert context["fsGroup"] == context["runAsGroup"]
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(workload):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert own["readOnlyRootFilesystem"] is True
            assert own.keys() <= {
                "allowPrivilegeEscalation",
                "capabilities",
                "readOnlyRootFilesystem",
            }
        assert not pod(workload).keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert not [volume for volume in pod(workload)["volumes"] if "hostPath" in volume]


def test_every_namespace_enforces_the_restricted_standard() -> None:
    for name in ("dev", "prod"):
        (namespace,) = stack(name).of_kind("Namespace")
        labels = namespace["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
        assert namespace["metadata"]["name"] == stack(name).of_role("api")["metadata"]["namespace"]


def test_the_rabbitmq_operator_confines_its_pods_as_well() -> None:
    (cluster,) = stack("prod").of_kind("RabbitmqCluster")
    specification = cluster["spec"]["override"]["statefulSet"]["spec"]["template"]["spec"]
    assert specification["securityContext"]["runAsNonRoot"] is True
    assert specification["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    names = {
        one["name"]: one["securityContext"]["allowPrivilegeEscalation"]
        for one in (*specification["containers"], *specification["initContainers"])
    }
    assert names == {"rabbitmq": False, "setup-container": False}


def test_every_container_has_requests_and_limits(each: Stack) -> None:
    for workload in each.workloads:
        for container in containers(workload):
            resources = container["resources"]
            for name, of in (("cpu", cores), ("memory", bytes_)):
                request, limit = resources["requests"][name], resources["limits"][name]
                assert 0 < of(request) <= of(limit), container["name"]
        for volume in pod(workload)["volumes"]:
            if "emptyDir" in volume:  # on the node's disk, or in its memory
                assert "sizeLimit" in volume["emptyDir"], volume


def test_every_written_folder_is_a_volume(each: Stack) -> None:
    """With a read-only root, DATA_DIR and /tmp must be volumes, and every mount needs one."""
    for workload in each.workloads:
        volumes = {volume["name"] for volume in pod(workload)["volumes"]}
        volumes |= {
            claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])
        }
        used = set()
        for container in containers(workload):
            mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
            used |= {mount["name"] for mount in mounts.values()}
            if role_of(workload) not in (None, "migrations") and "args" in container:
                data = each.one("ConfigMap", "truepenny-settings")["data"]["DATA_DIR"]
                assert not mounts[data].get("readOnly")
                assert not mounts["/tmp"].get("readOnly")  # noqa: S108 - a volume's place
        assert used == volumes, workload["metadata"]["name"]


def test_flower_remembers_over_restarts(each: Stack) -> None:
    (container,) = pod(each.of_role("flower"))["containers"]
    data = each.one("ConfigMap", "truepenny-settings")["data"]["DATA_DIR"]
    (mount,) = [one for one in container["volumeMounts"] if one["mountPath"] == f"{data}/flower"]
    (volume,) = [
        one for one in pod(each.of_role("flower"))["volumes"] if one["name"] == mount["name"]
    ]
    assert each.one("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])


def test_images_are_pinned(each: Stack) -> None:
    named = [
        container["image"] for workload in each.workloads for container in containers(workload)
    ]
    named += [cluster["spec"]["imageName"] for cluster in each.of_kind("Cluster")]
    named += [cluster["spec"]["image"] for cluster in each.of_kind("RabbitmqCluster")]
    for image in named:
        assert re.fullmatch(r"[a-z0-9./-]+:[0-9]+(\.[0-9]+)+(-[a-z0-9]+)*", image), image


def test_one_version_runs_everywhere_and_it_is_that_of_the_api(each: Stack) -> None:
    version = build_document()["info"]["version"]
    images = {
        container["image"].rpartition(":")
        for workload in each.workloads
        if role_of(workload)
        for container in containers(workload)
    }
    assert {tag for _, _, tag in images} == {version}
    assert len(images) == 1


def test_each_version_has_a_job_of_its_own() -> None:
    """A job cannot be changed, so the overlays name it after its image."""
    for name in ("dev", "prod"):
        job = stack(name).of_role("migrations")
        (container,) = pod(job)["containers"]
        tag = container["image"].rpartition(":")[2]
        assert job["metadata"]["name"] == f"truepenny-migrations-{tag}"


def test_containers_start_existing_roles(each: Stack) -> None:
    commands = app_commands()
    for role in ROLES:
        (container,) = pod(each.of_role(role))["containers"]
        if role == "migrations":
            assert container["command"][:3] == ["python", "-m", "migrations"]
        else:
            assert container["args"] == [role]
            assert role in commands
            assert "command" not in container  # the image's own: it knows each role's command


def test_pods_and_the_image_agree_on_who_runs_and_where_it_writes(each: Stack) -> None:
    image = (ROOT / "Dockerfile").read_text().splitlines()
    (user,) = [line.removeprefix("USER ") for line in image if line.startswith("USER ")]
    data = each.one("ConfigMap", "truepenny-settings")["data"]["DATA_DIR"]
    assert any(f"DATA_DIR={data}" in line for line in image)
    assert (
        'ENTRYPOINT ["python", "-m", "runtime.entrypoint"]' in image
    )  # to which a role is the argument
    for role in ROLES:
        context = pod(each.of_role(role))["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == user


def test_pods_that_need_the_tables_wait_for_the_migrations(each: Stack) -> None:
    from migrations.__main__ import _parser

    for role in ("api", *WORKERS):
        (waiting,) = pod(each.of_role(role))["initContainers"]
        assert waiting["command"][:3] == ["python", "-m", "migrations"]
        assert _parser().parse_args(waiting["command"][3:]).wait
    (migrating,) = pod(each.of_role("migrations"))["containers"]
    options = _parser().parse_args(migrating["command"][3:])
    assert not options.wait
    assert options.patience >= 300  # a new database takes some minutes


def test_the_job_does_not_change_with_the_settings(each: Stack) -> None:
    """Such a change would be refused: a job cannot be changed."""
    (container,) = pod(each.of_role("migrations"))["containers"]
    assert "envFrom" not in container
    assert not [one for one in pod(each.of_role("migrations"))["volumes"] if "configMap" in one]


def test_there_is_one_beat_and_never_a_second_beside_it(each: Stack) -> None:
    for role in ("beat", "flower"):
        assert each.of_role(role)["spec"]["replicas"] == 1
        assert each.of_role(role)["spec"]["strategy"] == {"type": "Recreate"}
    scaled = {
        one["spec"]["scaleTargetRef"]["name"]
        for one in each.of_kind("HorizontalPodAutoscaler", "ScaledObject")
    }
    assert not scaled & {"truepenny-beat", "truepenny-flower"}


def test_no_pod_has_a_kubernetes_token(each: Stack) -> None:
    for workload in each.workloads:
        assert pod(workload)["automountServiceAccountToken"] is False
        role = role_of(workload)
        if role:
            name = pod(workload)["serviceAccountName"]
            assert name == f"truepenny-{role}"
            assert each.one("ServiceAccount", name)["automountServiceAccountToken"] is False
    assert not each.of_kind("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


_UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def bytes_(quantity: str) -> int:
    number, unit = re.fullmatch(r"([0-9]+)([KMG]i)?", quantity).groups(default="")  # type: ignore[union-attr]
    return int(number) * _UNITS[unit]


def cores(quantity: str) -> float:
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)
