"""Schemas of custom resources, as far as k8s/ uses them, based on the operators' references.

Kubernetes' own schemas do not have these kinds. An unknown field is refused, so that a typo is
not silently ignored; add a field that is right but new here.

- KEDA 2.16: ScaledObject, TriggerAuthentication, and the scalers postgresql, redis, rabbitmq
- CloudNativePG 1.28: Cluster
- RabbitMQ cluster operator 2: RabbitmqCluster
"""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string", "minLength": 1}
COUNT: Final[Schema] = {"type": "integer", "minimum": 1}
# Triggers take all values as text: the API server would refuse the number 5.
NUMBER_AS_TEXT: Final[Schema] = {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$"}
QUANTITY: Final[Schema] = {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(m|[KMGT]i?)?$"}
TEXTS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}


def thing(required: Schema, optional: Schema | None = None) -> Schema:
    """Return the schema of an object with these fields and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def some(of: Schema) -> Schema:
    return {"type": "array", "items": of, "minItems": 1}


def one_of(*values: object) -> Schema:
    return {"enum": list(values)}


METADATA = thing({"name": TEXT}, {"namespace": TEXT, "labels": TEXTS, "annotations": TEXTS})
RESOURCES = thing(
    {
        "requests": thing({"cpu": QUANTITY, "memory": QUANTITY}),
        "limits": thing({"cpu": QUANTITY, "memory": QUANTITY}),
    }
)
SCALING_RULES = thing(
    {},
    {
        "stabilizationWindowSeconds": {"type": "integer", "minimum": 0, "maximum": 3600},
        "policies": some(
            thing(
                {
                    "type": one_of("Pods", "Percent"),
                    "value": COUNT,
                    "periodSeconds": {"type": "integer", "minimum": 1, "maximum": 1800},
                }
            )
        ),
    },
)


def trigger(type_: str, required: Schema) -> Schema:
    return thing(
        {
            "type": {"const": type_},
            "name": TEXT,
            "metadata": thing(required),
            "authenticationRef": thing({"name": TEXT}),
        }
    )


TRIGGERS = {
    "anyOf": [
        trigger(
            "postgresql",
            {
                "host": TEXT,
                "port": NUMBER_AS_TEXT,
                "dbName": TEXT,
                "sslmode": one_of("disable", "prefer", "require", "verify-ca", "verify-full"),
                "query": TEXT,
                "targetQueryValue": NUMBER_AS_TEXT,
            },
        ),
        trigger("redis", {"address": TEXT, "listName": TEXT, "listLength": NUMBER_AS_TEXT}),
        trigger(
            "rabbitmq",
            {
                "protocol": one_of("amqp", "http", "auto"),
                "queueName": TEXT,
                "mode": one_of("QueueLength", "MessageRate"),
                "value": NUMBER_AS_TEXT,
            },
        ),
    ]
}
SCALED_OBJECT = thing(
    {
        "scaleTargetRef": thing({"name": TEXT, "kind": TEXT, "apiVersion": TEXT}),
        "minReplicaCount": {"type": "integer", "minimum": 0},
        "maxReplicaCount": COUNT,
        "triggers": some(TRIGGERS),
    },
    {
        "pollingInterval": COUNT,
        "cooldownPeriod": COUNT,
        "advanced": thing(
            {
                "horizontalPodAutoscalerConfig": thing(
                    {"behavior": thing({}, {"scaleDown": SCALING_RULES, "scaleUp": SCALING_RULES})}
                )
            }
        ),
    },
)
PARAMETERS = ("userName", "password", "host", "username", "connection")
TRIGGER_AUTHENTICATION = thing(
    {"secretTargetRef": some(thing({"parameter": one_of(*PARAMETERS), "name": TEXT, "key": TEXT}))}
)
POSTGRES_CLUSTER = thing(
    {
        "instances": COUNT,
        "imageName": TEXT,
        "storage": thing({"size": QUANTITY}, {"storageClass": TEXT}),
    },
    {
        "inheritedMetadata": thing({"labels": TEXTS}),
        "bootstrap": thing({"initdb": thing({"database": TEXT, "owner": TEXT})}),
        "managed": thing(
            {
                "roles": some(
                    thing(
                        {
                            "name": TEXT,
                            "ensure": one_of("present", "absent"),
                            "login": {"type": "boolean"},
                            "passwordSecret": thing({"name": TEXT}),
                        }
                    )
                )
            }
        ),
        "postgresql": thing(
            {
                "synchronous": thing(
                    {
                        "method": one_of("any", "first"),
                        "number": COUNT,
                        "dataDurability": one_of("required", "preferred"),
                        "failoverQuorum": {"type": "boolean"},
                    }
                ),
                "parameters": TEXTS,
            }
        ),
        "affinity": thing(
            {
                "enablePodAntiAffinity": {"type": "boolean"},
                "podAntiAffinityType": one_of("required", "preferred"),
                "topologyKey": TEXT,
            }
        ),
        "walStorage": thing({"size": QUANTITY}, {"storageClass": TEXT}),
        "resources": RESOURCES,
    },
)
CONFINED = thing(
    {
        "name": TEXT,
        "securityContext": thing(
            {
                "allowPrivilegeEscalation": {"const": False},
                "capabilities": thing({"drop": {"const": ["ALL"]}}),
            }
        ),
    }
)
RABBITMQ_CLUSTER = thing(
    {
        "replicas": one_of(1, 3, 5),
        "image": TEXT,
        "persistence": thing({"storage": QUANTITY}, {"storageClassName": TEXT}),
        "resources": RESOURCES,
    },
    {
        "rabbitmq": thing({"additionalConfig": TEXT}),
        "affinity": {"type": "object"},
        "override": thing(
            {
                "statefulSet": thing(
                    {
                        "spec": thing(
                            {
                                "template": thing(
                                    {
                                        "spec": thing(
                                            {
                                                "securityContext": {"type": "object"},
                                                "initContainers": some(CONFINED),
                                                "containers": some(CONFINED),
                                            }
                                        )
                                    }
                                )
                            }
                        )
                    }
                )
            }
        ),
    },
)

_SPECIFICATIONS = {
    ("keda.sh/v1alpha1", "ScaledObject"): SCALED_OBJECT,
    ("keda.sh/v1alpha1", "TriggerAuthentication"): TRIGGER_AUTHENTICATION,
    ("postgresql.cnpg.io/v1", "Cluster"): POSTGRES_CLUSTER,
    ("rabbitmq.com/v1beta1", "RabbitmqCluster"): RABBITMQ_CLUSTER,
}
SCHEMAS: Final = {
    key: thing(
        {
            "apiVersion": {"const": key[0]},
            "kind": {"const": key[1]},
            "metadata": METADATA,
            "spec": specification,
        }
    )
    for key, specification in _SPECIFICATIONS.items()
}
