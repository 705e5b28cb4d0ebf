//! The Pod of a relay: the operator's template, and what this manager adds. Pure.
//!
//! Added are its name, labels to find it again by, the options that make it the relay that is wanted, and that it is
//! not started again: a relay that ended has another name when it comes back. All else is the operator's.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use k8s_openapi::{
    api::core::v1::{Pod, PodSpec, PodTemplate, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{Order, Settings};

/// The template in a file, YAML or JSON.
pub(super) fn read(text: &str) -> anyhow::Result<PodTemplateSpec> {
    let object: PodTemplate = serde_saphyr::from_str(text)
        .map_err(|error| {
            anyhow::anyhow!("{}", error.to_string().lines().next().unwrap_or_default())
        })
        .context("not a PodTemplate (apiVersion v1)")?;
    object.template.context("it has no template in it")
}

/// The Pod for `order`.
pub(super) fn pod(
    template: PodTemplateSpec,
    order: &Order,
    settings: &Settings,
) -> anyhow::Result<Pod> {
    ensure!(
        is_label(&order.node),
        "{:?} cannot be the name of a Pod: 1 to 63 of a-z, 0-9 and '-', and none of those at an end",
        order.node
    );
    let (metadata, spec) = (template.metadata.unwrap_or_default(), template.spec);
    let mut spec = spec.context("the template has no spec")?;
    let relay = relay_container(&spec)
        .context("the template has no container")?
        .to_owned();
    for container in spec
        .containers
        .iter_mut()
        .filter(|container| container.name == relay)
    {
        let given = [
            ("--name", &order.node),
            ("--region", &order.region),
            ("--manager", &settings.manager),
            ("--upstream", &order.upstream),
        ];
        let arguments = container.args.get_or_insert_default();
        arguments.push("--launched".to_owned());
        arguments.extend(
            given
                .into_iter()
                .flat_map(|(flag, value)| [flag.to_owned(), value.clone()]),
        );
    }
    spec.restart_policy = Some("Never".to_owned());
    let mut labels = metadata.labels.unwrap_or_default();
    labels.extend(own_labels(&settings.installation));
    labels.insert(REGION.to_owned(), label_value(&order.region));
    Ok(Pod {
        metadata: ObjectMeta {
            name: Some(order.node.clone()),
            labels: Some(labels),
            annotations: metadata.annotations,
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    })
}

/// By what the relays of an installation are found.
pub(super) fn selector(installation: &str) -> String {
    let labels = own_labels(installation);
    let pairs: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join(",")
}

pub(super) fn is_ours(pod: &Pod, installation: &str) -> bool {
    let labels = pod.metadata.labels.as_ref();
    let has = |name: &String, value: &String| {
        labels.is_some_and(|labels| labels.get(name) == Some(value))
    };
    own_labels(installation)
        .iter()
        .all(|(name, value)| has(name, value))
}

/// The container that is the relay: the one that is called so, else the first.
pub(super) fn relay_container(spec: &PodSpec) -> Option<&str> {
    let named = spec
        .containers
        .iter()
        .find(|container| container.name == RELAY);
    let relay = named.or_else(|| spec.containers.first());
    relay.map(|container| container.name.as_str())
}

fn own_labels(installation: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "spillway"),
        ("app.kubernetes.io/component", RELAY),
        ("app.kubernetes.io/instance", installation),
        ("app.kubernetes.io/managed-by", super::FIELD_MANAGER),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

pub(super) fn is_label(name: &str) -> bool {
    let fits = name
        .bytes()
        .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    (1..=63).contains(&name.len()) && fits && label_value(name) == name
}

/// Labels neither begin nor end with a hyphen, regions may.
fn label_value(text: &str) -> String {
    text.trim_matches('-').to_owned()
}

const RELAY: &str = "relay";

/// For whom it was launched; for people, and for metrics by region.
const REGION: &str = "spillway.dev/region";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::launcher::kubernetes::Template;

    const TEMPLATE: &str = "
apiVersion: v1
kind: PodTemplate
metadata: { name: spillway-relay }
template:
  metadata:
    labels: { team: video }
    annotations: { note: ours }
  spec:
    restartPolicy: Always
    terminationGracePeriodSeconds: 90
    containers:
      - { name: proxy, image: 'proxy:1' }
      - name: relay
        image: spillway:0.1
        args: ['--listen', '0.0.0.0:8080']
";

    fn settings() -> Settings {
        Settings {
            installation: "tv".into(),
            template: Template::Object("spillway-relay".into()),
            manager: "http://traffic-manager:9000".into(),
            runs_within: std::time::Duration::from_secs(1),
            ends_within: std::time::Duration::from_secs(1),
            answers_within: std::time::Duration::from_secs(1),
        }
    }

    fn order(node: &str) -> Order {
        Order {
            node: node.into(),
            region: "-paris".into(),
            upstream: "http://primary:8080".into(),
        }
    }

    #[test]
    fn a_pod_is_the_template_and_what_makes_it_this_relay() {
        let pod = pod(
            read(TEMPLATE).unwrap(),
            &order("relay-paris-1"),
            &settings(),
        )
        .unwrap();
        let labels = pod.metadata.labels.clone().unwrap();
        assert_eq!(labels["team"], "video");
        assert_eq!(labels["app.kubernetes.io/instance"], "tv");
        assert_eq!(labels["spillway.dev/region"], "paris");
        assert!(is_ours(&pod, "tv") && !is_ours(&pod, "radio"));
        assert_eq!(pod.metadata.annotations.clone().unwrap()["note"], "ours");
        let spec = pod.spec.unwrap();
        assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
        assert_eq!(spec.termination_grace_period_seconds, Some(90));
        assert_eq!(spec.containers[0].args, None);
        let arguments = spec.containers[1].args.clone().unwrap().join(" ");
        assert_eq!(
            arguments,
            "--listen 0.0.0.0:8080 --launched --name relay-paris-1 --region -paris --manager \
             http://traffic-manager:9000 --upstream http://primary:8080"
        );
    }

    #[test]
    fn what_is_no_template_is_refused_with_a_reason() {
        for (text, told) in [
            (
                "kind: Pod\napiVersion: v1\nmetadata: {}",
                "not a PodTemplate",
            ),
            (
                "apiVersion: v1\nkind: PodTemplate\nmetadata: {}",
                "no template in it",
            ),
            ("{", "not a PodTemplate"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(told) && !error.contains('\n'), "{error}");
        }
        for node in ["", "Relay", "a.b", "-a", "a-", &"a".repeat(64)] {
            let error = pod(read(TEMPLATE).unwrap(), &order(node), &settings()).unwrap_err();
            assert!(
                error.to_string().contains("cannot be the name of a Pod"),
                "{error}"
            );
        }
    }

    #[test]
    fn relays_are_found_by_their_labels() {
        assert_eq!(
            selector("tv"),
            "app.kubernetes.io/component=relay,app.kubernetes.io/instance=tv,\
             app.kubernetes.io/managed-by=spillway-traffic-manager,app.kubernetes.io/name=spillway"
        );
    }
}
