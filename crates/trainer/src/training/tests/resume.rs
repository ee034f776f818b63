//! A training that is continued ends as one that never stopped.

use std::path::Path;

use super::*;

fn hard() -> ResolvedBuiltin {
    ResolvedBuiltin {
        layers: vec![ResolvedLayer { dropout: 0.3, ..layer(6) }, ResolvedLayer { l2: 0.001, ..layer(5) }],
        schedule: ResolvedSchedule::Cosine,
        early_stopping: Some(stopping(2, 0.0, true)),
        epochs: 6,
        ..settings()
    }
}

fn place(folder: &Path) -> CheckpointPlace {
    CheckpointPlace { path: folder.join("checkpoint"), identity: "this training".into() }
}

/// All that must be the same, to the last bit.
fn essence(result: &Trained) -> (Vec<u32>, Vec<[u64; 5]>, u32, bool) {
    let record = |it: &EpochRecord| {
        let numbers = [it.learning_rate, it.training_loss, it.validation_loss, it.validation_score];
        let [a, b, c, d] = numbers.map(f64::to_bits);
        [u64::from(it.epoch), a, b, c, d]
    };
    (
        bits(&result.network),
        result.history.iter().map(record).collect(),
        result.best_epoch,
        result.stopped_early,
    )
}

#[rstest]
#[case(ADAM)]
#[case(Method::Sgd { momentum: 0.9, nesterov: true })]
#[case(Method::RmsProp { rho: 0.9, epsilon: 1e-8, momentum: 0.5 })]
fn an_interruption_after_any_step_changes_no_bit(#[case] method: Method) {
    let [training, validation] = [saddle(20, 1), saddle(9, 2)];
    let problem = problem(&training, &validation, Task::Regression);
    let settings = ResolvedBuiltin { optimizer: ResolvedOptimizer { learning_rate: 0.05, method }, ..hard() };
    let mut undisturbed = Watch::default();
    let expected = undisturbed.train(&problem, &settings, None).unwrap();
    let steps = undisturbed.steps.len();
    assert!(steps >= 9, "{steps}");
    for stop_after in 1..=steps {
        let folder = tempfile::tempdir().unwrap();
        let mut first = Watch { stop_after: Some(stop_after), ..Watch::default() };
        let error = first.train(&problem, &settings, Some(place(folder.path()))).unwrap_err();
        let TrainingError::Interrupted { epoch, step, kept: true } = error else { panic!("{error}") };
        assert_eq!((error.reason(), error.exit_code()), ("Interrupted", ExitCode::Preempted));
        let mut second = Watch::default();
        let result = second.train(&problem, &settings, Some(place(folder.path()))).unwrap();
        assert_eq!(result.resumed_from, Some(Position { epochs: epoch - 1, steps: step }));
        assert_eq!(essence(&result), essence(&expected), "after step {stop_after}");
        assert_eq!([first.steps, second.steps].concat(), undisturbed.steps);
    }
}

/// Copies the checkpoint after every step and epoch, as it would be found after a power failure.
struct Copier<'a> {
    place: &'a CheckpointPlace,
    copies: Vec<Vec<u8>>,
}

impl Copier<'_> {
    fn copy(&mut self) {
        if let Ok(bytes) = std::fs::read(&self.place.path) {
            self.copies.push(bytes);
        }
    }
}

impl Observer for Copier<'_> {
    fn step(&mut self, _: &StepProgress) {
        self.copy();
    }

    fn epoch(&mut self, _: &EpochRecord) {
        self.copy();
    }
}

#[test]
fn whatever_checkpoint_a_killed_training_left_is_continued() {
    let [training, validation] = [corners(20, 2, 1), corners(9, 2, 2)];
    let problem = problem(&training, &validation, Task::Binary);
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    let mut copier = Copier { place: &place, copies: Vec::new() };
    let stop = AtomicBool::new(false);
    let control = &mut Control { observer: &mut copier, checkpoint: Some(place.clone()), stop: &stop };
    let eager = Pace { spacing: 0, most: std::time::Duration::ZERO };
    let expected = run::train(&problem, &hard(), control, eager).unwrap();
    copier.copy();
    assert!(copier.copies.len() > 9);
    for copy in &copier.copies {
        std::fs::write(&place.path, copy).unwrap();
        let result = Watch::default().train(&problem, &hard(), Some(place.clone())).unwrap();
        assert!(result.resumed_from.is_some());
        assert_eq!(essence(&result), essence(&expected));
    }
    // The last one is of a training that is complete: it is not trained again.
    let mut watch = Watch::default();
    watch.train(&problem, &hard(), Some(place)).unwrap();
    assert!(watch.steps.is_empty());
}

#[test]
fn a_checkpoint_that_cannot_be_used_is_ignored() {
    let [training, validation] = [corners(20, 2, 1), corners(9, 2, 2)];
    let problem = problem(&training, &validation, Task::Binary);
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    let expected = Watch::default().train(&problem, &hard(), Some(place.clone())).unwrap();
    let whole = std::fs::read(&place.path).unwrap();
    let mut unusable =
        vec![Vec::new(), b"MWTRAIN1".to_vec(), whole[..whole.len() / 2].to_vec(), vec![b'x'; 5000]];
    for at in [0, 20, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        unusable.push(damaged);
    }
    // Whole, but with a tail.
    unusable.push([whole.as_slice(), b"0"].concat());
    for bytes in unusable {
        std::fs::write(&place.path, bytes).unwrap();
        let result = Watch::default().train(&problem, &hard(), Some(place.clone())).unwrap();
        assert_eq!(result.resumed_from, None);
        assert_eq!(essence(&result), essence(&expected));
        assert_eq!(std::fs::read(&place.path).unwrap(), whole);
    }
    let other = CheckpointPlace { identity: "another training".into(), ..place.clone() };
    assert_eq!(Watch::default().train(&problem, &hard(), Some(other)).unwrap().resumed_from, None);
    // That one's checkpoint, under the first identity, with layers of another shape.
    let wider = ResolvedBuiltin { layers: vec![layer(9)], ..hard() };
    Watch::default().train(&problem, &wider, Some(place.clone())).unwrap();
    let result = Watch::default().train(&problem, &hard(), Some(place)).unwrap();
    assert_eq!((result.resumed_from, essence(&result)), (None, essence(&expected)));
}

#[test]
fn nothing_but_the_checkpoint_is_left_in_its_folder() {
    let rows = corners(20, 2, 1);
    let folder = tempfile::tempdir().unwrap();
    Watch::default()
        .train(&problem(&rows, &rows, Task::Binary), &settings(), Some(place(folder.path())))
        .unwrap();
    let names: Vec<_> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["checkpoint"]);
}

#[test]
fn a_checkpoint_that_cannot_be_written_ends_the_training() {
    let rows = corners(20, 2, 1);
    let folder = tempfile::tempdir().unwrap();
    let missing = place(&folder.path().join("missing"));
    let error =
        Watch::default().train(&problem(&rows, &rows, Task::Binary), &settings(), Some(missing)).unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("CheckpointUnwritable", ExitCode::OutputUnwritable));
    assert!(error.to_string().contains("missing/checkpoint"), "{error}");
    assert!(error.to_string().contains("its folder is missing; make it"), "{error}");
    let full = TrainingError::CheckpointUnwritable {
        path: "/checkpoint".into(),
        source: std::io::ErrorKind::StorageFull.into(),
    };
    assert!(full.to_string().contains("the disk is full; give it more space"), "{full}");
}

#[test]
fn without_a_place_an_interrupted_training_is_lost() {
    let rows = corners(20, 2, 1);
    let mut watch = Watch { stop_after: Some(2), ..Watch::default() };
    let error = watch.train(&problem(&rows, &rows, Task::Binary), &settings(), None).unwrap_err();
    assert_eq!(error.to_string(), "interrupted in epoch 1 after step 2");
}
