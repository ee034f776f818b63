//! The schema as read here and as a general validator reads it.

use proptest::{prelude::*, sample::Index};

use super::*;

/// Values that are wrong in some place, and some that are not.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(0)),
        any::<i32>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!(1.5)),
        Just(json!(1e-7)),
        (-2.0..2.0).prop_map(Value::from),
        Just(json!(true)),
        Just(json!("")),
        Just(json!("CPU")),
        "[a-z0-9:/]{1,80}".prop_map(Value::from),
        Just(json!("m".repeat(3_000))),
        Just(json!({})),
        Just(json!({"name": "x"})),
        Just(json!([])),
        Just(json!([1])),
        Just(json!({"a": 0.5, "b": 2})),
    ]
}

/// The CRD's schema as a general validator needs it: its own word for quantities, and no other keys.
fn oracle() -> jsonschema::Validator {
    fn adapt(schema: &mut Value) {
        if let Value::Object(object) = schema {
            if object.contains_key("x-kubernetes-int-or-string") {
                object.insert("type".to_owned(), json!(["integer", "string"]));
            }
            // A number of its own in JSON Schema, a word about `minimum` in Kubernetes.
            if object.remove("exclusiveMinimum").is_some() {
                let least = object.remove("minimum").unwrap();
                object.insert("exclusiveMinimum".to_owned(), least);
            }
            // 1.0 is an integer to JSON Schema and to the API server, but nobody writes it.
            if object.contains_key("properties") {
                object.insert("additionalProperties".to_owned(), json!(false));
            }
            object.values_mut().for_each(adapt);
        }
    }
    let mut schema = crd::schema()["properties"]["spec"].clone();
    adapt(&mut schema);
    jsonschema::validator_for(&schema).unwrap()
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = parse(&text, "m.yaml");
    }

    #[test]
    fn any_yaml_like_text_is_read_or_refused(text in "([a-z&*<!|>\\[\\]{}:,'\"#%@?-]|: |\\n|\\n  |---\\n|- ){0,80}") {
        let _ = parse(&text, "m.yaml");
        let _ = parse(&manifest(&text), "m.yaml");
    }

    #[test]
    fn any_wrong_value_is_judged_as_a_general_validator_judges_it(
        document in any::<Index>(),
        place in any::<Index>(),
        value in any_value(),
    ) {
        let oracle = oracle();
        let documents = yaml::read(EXAMPLE).unwrap();
        let mut object = document.get(&documents).to_value();
        let mut places = vec!["/spec/unknown".to_owned()];
        collect(&crd::schema()["properties"]["spec"], "/spec", &mut places);
        let parent = |place: &String| place.rsplit_once('/').map(|(parent, _)| parent.to_owned()).unwrap();
        places.retain(|place| object.pointer(&parent(place)).is_some());
        let place = place.get(&places);
        object.pointer_mut(&parent(place)).unwrap()[place.rsplit('/').next().unwrap()] = value;
        let text = serde_json::to_string(&object).unwrap();
        let document = yaml::read(&text).unwrap().remove(0);
        let problems = structure::check(&OBJECT_SCHEMA, &document, 1);
        prop_assert!(agrees(&problems, oracle.is_valid(&object["spec"])), "{:?} {}", problems, object);
        // Whatever passed can be read; whatever did not is refused without a panic.
        let _ = parse_for(&text, "m.yaml", Scope::Cluster);
    }
}

/// Whether the problems found agree with a general validator. Only that knows no bound of quantities: in thousandths they
/// must fit 64 bits.
fn agrees(problems: &[Problem], valid: bool) -> bool {
    let beyond = |problem: &Problem| problem.message.contains("write a smaller quantity");
    if valid { problems.iter().all(beyond) } else { !problems.is_empty() }
}

#[test]
fn every_place_takes_or_refuses_the_largest_whole_numbers_as_a_general_validator_does() {
    let oracle = oracle();
    for document in yaml::read(EXAMPLE).unwrap() {
        let object = document.to_value();
        let mut places = Vec::new();
        collect(&crd::schema()["properties"]["spec"], "/spec", &mut places);
        for place in places {
            for number in [9_007_199_254_740_993_i64, 9_223_372_036_854_776, i64::MAX, i64::MIN] {
                let mut object = object.clone();
                let (parent, key) = place.rsplit_once('/').unwrap();
                let Some(parent) = object.pointer_mut(parent) else { continue };
                parent[key] = json!(number);
                let text = serde_json::to_string(&object).unwrap();
                let document = yaml::read(&text).unwrap().remove(0);
                let problems = structure::check(&OBJECT_SCHEMA, &document, 1);
                assert!(
                    agrees(&problems, oracle.is_valid(&object["spec"])),
                    "{place} {number}: {problems:?}"
                );
            }
        }
    }
}
