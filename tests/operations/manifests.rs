//! The manifests in deploy/kubernetes: read with the API's own types, which know every field, and true to
//! what the programs take.

use std::{collections::BTreeMap, process::Command};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{Container, Namespace, PodSpec, PodTemplate, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{Role, RoleBinding},
    },
    serde::{Serialize, de::DeserializeOwned},
};
use serde_json::Value;

use super::{files, takes, text};

const FOLDER: &str = "deploy/kubernetes";

/// All objects of all files, by kind and name.
fn objects() -> BTreeMap<(String, String), Value> {
    let mut all = BTreeMap::new();
    for file in files(FOLDER) {
        for document in text(&format!("{FOLDER}/{file}")).split("\n---\n") {
            let object: Value =
                serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{file}: {error}"));
            let kind = object["kind"].as_str().unwrap().to_owned();
            let name = object["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            assert!(all.insert((kind, name), object).is_none(), "{file}");
        }
    }
    all
}

/// As the API's own type, which leaves out what it does not know: nothing may be left out.
fn typed<T: DeserializeOwned + Serialize>(object: &Value) -> T {
    let read: T = serde_json::from_value(object.clone()).unwrap();
    let again = serde_json::to_value(&read).unwrap();
    known(object, &again, "");
    read
}

fn known(said: &Value, read: &Value, at: &str) {
    match (said, read) {
        (Value::Object(said), Value::Object(read)) => {
            for (name, value) in said {
                let at = format!("{at}.{name}");
                known(
                    value,
                    read.get(name).unwrap_or_else(|| panic!("{at} is no field")),
                    &at,
                );
            }
        }
        (Value::Array(said), Value::Array(read)) => {
            for (number, (said, read)) in said.iter().zip(read).enumerate() {
                known(said, read, &format!("{at}[{number}]"));
            }
        }
        (said, read) => assert_eq!(said, read, "{at}"),
    }
}

fn pods() -> Vec<(String, PodSpec)> {
    let objects = objects();
    let get = |kind: &str, name: &str| &objects[&(kind.to_owned(), name.to_owned())];
    let set = |name: &str| {
        typed::<StatefulSet>(get("StatefulSet", name))
            .spec
            .unwrap()
            .template
    };
    let deployment: Deployment = typed(get("Deployment", "relay"));
    let template: PodTemplate = typed(get("PodTemplate", "spillway-relay"));
    [
        ("primary", set("primary")),
        ("traffic-manager", set("traffic-manager")),
        ("relay", deployment.spec.unwrap().template),
        ("spillway-relay", template.template.unwrap()),
    ]
    .map(|(name, template)| (name.to_owned(), template.spec.unwrap()))
    .into()
}

#[test]
fn every_object_is_what_the_api_takes() {
    for ((kind, name), object) in objects() {
        match kind.as_str() {
            "Namespace" => drop(typed::<Namespace>(&object)),
            "ServiceAccount" => drop(typed::<ServiceAccount>(&object)),
            "Role" => drop(typed::<Role>(&object)),
            "RoleBinding" => drop(typed::<RoleBinding>(&object)),
            "StatefulSet" => drop(typed::<StatefulSet>(&object)),
            "Deployment" => drop(typed::<Deployment>(&object)),
            "PodTemplate" => drop(typed::<PodTemplate>(&object)),
            "PodDisruptionBudget" => drop(typed::<PodDisruptionBudget>(&object)),
            "NetworkPolicy" => drop(typed::<NetworkPolicy>(&object)),
            "HorizontalPodAutoscaler" => drop(typed::<HorizontalPodAutoscaler>(&object)),
            "Service" => {
                let service: Service = typed(&object);
                for port in service.spec.unwrap().ports.unwrap() {
                    // Server-side apply wants it said.
                    assert_eq!(port.protocol.as_deref(), Some("TCP"), "{name}");
                }
            }
            // Types of their own.
            "Kustomization" | "ScaledObject" => {}
            _ => panic!("{kind} {name} is looked at by nobody"),
        }
    }
}

#[test]
fn the_kustomization_names_all_files_but_the_one_to_choose() {
    let objects = objects();
    let named = objects[&("Kustomization".to_owned(), String::new())]["resources"]
        .as_array()
        .unwrap()
        .clone();
    let mut named: Vec<_> = named
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    named.extend(["autoscaling.yaml", "kustomization.yaml"].map(str::to_owned));
    named.sort();
    assert_eq!(named, files(FOLDER));
}

#[test]
fn the_manager_may_do_what_it_does_and_no_more() {
    let objects = objects();
    let role: Role = typed(&objects[&("Role".to_owned(), "traffic-manager".to_owned())]);
    let rules = role.rules.unwrap();
    let may = |resource: &str| -> Vec<String> {
        let of = rules.iter().filter(|rule| {
            rule.resources
                .clone()
                .unwrap_or_default()
                .contains(&resource.to_owned())
        });
        let mut verbs: Vec<_> = of.flat_map(|rule| rule.verbs.clone()).collect();
        verbs.sort();
        verbs
    };
    // Server-side apply is a patch, and making something by it a creation.
    assert_eq!(
        may("pods"),
        ["create", "delete", "get", "list", "patch", "watch"]
    );
    assert_eq!(may("podtemplates"), ["get"]);
    assert_eq!(may("leases"), ["create", "get", "update"]);
    let all: usize = rules
        .iter()
        .map(|rule| rule.resources.as_ref().map_or(0, Vec::len))
        .sum();
    assert_eq!(all, 4, "and nothing else");
}

#[test]
fn relays_send_viewers_on_before_they_are_killed() {
    for (name, pod) in pods()
        .into_iter()
        .filter(|(name, _)| name.contains("relay"))
    {
        let drain: i64 = variable(&pod.containers[0], "SPILLWAY_DRAIN_SECONDS")
            .unwrap()
            .parse()
            .unwrap();
        assert!(
            pod.termination_grace_period_seconds.unwrap() > drain,
            "{name}"
        );
    }
}

#[test]
fn policies_are_of_pods_and_ports_that_there_are() {
    let objects = objects();
    let template = |kind: &str, name: &str| objects[&(kind.to_owned(), name.to_owned())].clone();
    let labels = |object: &Value| {
        let own = object.pointer("/spec/template/metadata/labels");
        let own = own.or(object.pointer("/template/metadata/labels"));
        own.and_then(|labels| labels["app.kubernetes.io/component"].as_str())
            .unwrap()
            .to_owned()
    };
    for (policy, kind, name) in [
        ("primary", "StatefulSet", "primary"),
        ("traffic-manager", "StatefulSet", "traffic-manager"),
        ("relay", "PodTemplate", "spillway-relay"),
        ("relay", "Deployment", "relay"),
    ] {
        let said = template("NetworkPolicy", policy);
        assert!(
            said["spec"]["podSelector"]
                .to_string()
                .contains(&format!("\"{}\"", labels(&template(kind, name)))),
            "{policy} is not of {kind} {name}"
        );
        let (_, pod) = pods().into_iter().find(|(pod, _)| pod == name).unwrap();
        let ports = pod.containers[0].ports.clone().unwrap();
        let rules = said["spec"]["ingress"].as_array().unwrap().iter();
        let open: Vec<_> = rules
            .flat_map(|rule| rule["ports"].as_array().unwrap())
            .map(|port| port["port"].as_str().unwrap())
            .collect();
        for port in &ports {
            let port = port.name.as_deref().unwrap();
            assert!(open.contains(&port), "{policy} keeps {port} closed");
        }
    }
}

#[test]
fn kubectl_puts_them_together() {
    let said = Command::new("kubectl")
        .args(["kustomize", FOLDER])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let Ok(said) = said else {
        eprintln!("SKIPPED: kubectl is not installed; the kustomization is only read by us");
        return;
    };
    let [out, err] = [&said.stdout, &said.stderr].map(|said| String::from_utf8_lossy(said));
    assert!(said.status.success(), "{err}");
    assert!(out.contains("namespace: spillway"), "{out}");
}

#[test]
fn programs_take_what_they_are_given() {
    for (name, pod) in pods() {
        let container = &pod.containers[0];
        let program = container.command.clone().unwrap().remove(0);
        let flags = container.args.clone().unwrap_or_default();
        let variables = container.env.clone().unwrap();
        let own = variables.iter().map(|variable| variable.name.as_str());
        let own = own.filter(|name| name.starts_with("SPILLWAY_"));
        takes(&name, &program, flags.iter().map(String::as_str), own);
        assert!(container.liveness_probe.is_some(), "{name}");
        let confined = container.security_context.clone().unwrap();
        assert_eq!(confined.run_as_non_root, Some(true), "{name}");
        assert_eq!(confined.read_only_root_filesystem, Some(true), "{name}");
        assert_eq!(
            pod.automount_service_account_token.unwrap_or(true),
            name == "traffic-manager"
        );
    }
}

fn variable(container: &Container, name: &str) -> Option<String> {
    let variables = container.env.clone()?;
    variables
        .into_iter()
        .find(|variable| variable.name == name)?
        .value
}
