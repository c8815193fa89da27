//! Whether a spec can be honoured, before anything is started.

use std::collections::HashSet;

use crate::error::SpecError;
use crate::spec::{Body, ChildSpec, Strategy, SupervisorSpec};

/// Checks a supervisor and all below it.
pub(crate) fn supervisor(spec: &SupervisorSpec, path: &str) -> Result<(), SpecError> {
    let mut ids = HashSet::new();
    for spec_of_child in &spec.children {
        if !ids.insert(&spec_of_child.id) {
            return Err(SpecError {
                path: format!("{path}/{}", spec_of_child.id),
                problem: "two children have this id".to_owned(),
                expected: "an id that no sibling has",
            });
        }
        child(spec_of_child, path, spec.strategy)?;
    }
    Ok(())
}

/// Checks a child of a supervisor with `strategy`, and all below it.
pub(crate) fn child(
    spec: &ChildSpec,
    parent_path: &str,
    strategy: Strategy,
) -> Result<(), SpecError> {
    let path = format!("{parent_path}/{}", spec.id);
    id(&spec.id, &path)?;
    let backoff = &spec.backoff;
    if !(0.0..=1.0).contains(&backoff.jitter) {
        return Err(SpecError {
            path,
            problem: format!("the jitter of its backoff is {}", backoff.jitter),
            expected: "a number from 0 to 1",
        });
    }
    if backoff.initial > backoff.max {
        return Err(SpecError {
            path,
            problem: format!(
                "its backoff begins with {:?} and has a maximum of {:?}",
                backoff.initial, backoff.max
            ),
            expected: "an initial wait that is not above the maximum",
        });
    }
    if spec.cool_down.is_some() && strategy != Strategy::OneForOne {
        return Err(SpecError {
            path,
            problem: "it has a cool-down".to_owned(),
            expected: "a cool-down only under one_for_one, where no sibling waits for the child",
        });
    }
    match &spec.body {
        Body::Worker(_) => Ok(()),
        Body::Supervisor(below) => supervisor(below, &path),
    }
}

/// Checks that paths made of this id can be told apart.
pub(crate) fn id(id: &str, path: &str) -> Result<(), SpecError> {
    if id.is_empty() || id.contains('/') {
        return Err(SpecError {
            path: path.to_owned(),
            problem: format!("its id is `{id}`"),
            expected: "an id that is not empty and has no `/`",
        });
    }
    Ok(())
}

/// A child whose reference some supervisor already fills.
pub(crate) fn claimed(spec: &ChildSpec, parent_path: &str) -> SpecError {
    SpecError {
        path: format!("{parent_path}/{}", spec.id),
        problem: "its reference already belongs to a running child".to_owned(),
        expected: "a reference of its own for each child",
    }
}
