//! Typing tools: linear discriminants against R MASS, naive Bayes and the choice of questions against scikit-learn.

use serde_json::Value;
use strata_models::typing::{
    Answers, Confusion, Discriminant, NaiveBayes, Numeric, best_questions, cross_validated, forward_questions, honest,
};

use super::{Outcome, is_close, json, numbers, reference, rows};

type Row = std::collections::HashMap<String, String>;

const SEGMENTS: [&str; 3] = ["E", "H", "M"];

fn segments(rows: &[Row], column: &str) -> Vec<u32> {
    rows.iter().map(|row| SEGMENTS.iter().position(|segment| row[column] == *segment).unwrap_or(9) as u32).collect()
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The columns of rows one row after the other.
fn matrix(rows: &[Row], columns: &[&str]) -> Outcome<Vec<f64>> {
    let columns = columns.iter().map(|name| numbers(rows, name)).collect::<Outcome<Vec<_>>>()?;
    Ok((0..rows.len()).flat_map(|row| columns.iter().map(move |column| column[row])).collect())
}

#[test]
fn linear_discriminants() -> Outcome {
    let Some(folder) = reference("panel") else {
        return Ok(());
    };
    let case = json(folder.join("cases/typing_lda_api.json"))?;
    let data = rows(folder.join("data/typing_api.csv"))?;
    let features = names(&case["params"]["features"]);
    let (truth, measures) = (segments(&data, "stype"), matrix(&data, &features)?);
    let numeric = Numeric { segments: 3, truth: &truth, columns: features.len(), measures: &measures };
    let model = Discriminant::fit(&numeric)?;
    let expected = rows(folder.join("expected/typing_lda_api.csv"))?;
    let classes = segments(&expected, "class");
    let mut predicted = Vec::new();
    for (person, wanted) in expected.iter().enumerate() {
        let own = &measures[person * features.len()..(person + 1) * features.len()];
        for (found, segment) in model.probabilities(own)?.into_iter().zip(SEGMENTS) {
            let wanted: f64 = wanted[&format!("post_{segment}")].parse()?;
            assert!(is_close(&case, found, wanted), "{person} {segment}: {found} {wanted}");
        }
        predicted.push(model.predict(own)?);
    }
    assert_eq!(predicted, classes);
    let left_out = model.leave_one_out(&numeric)?;
    assert_eq!(left_out, segments(&expected, "loo_class"));
    for (key, predicted) in [("accuracy_resubstitution", &predicted), ("accuracy_leave_one_out", &left_out)] {
        let found = Confusion::new(3, &truth, predicted)?.accuracy().ok_or("nobody")?;
        assert!(is_close(&case, found, case["expected"][key].as_f64().ok_or("no accuracy")?), "{key}: {found}");
    }
    let confusion = Confusion::new(3, &truth, &left_out)?;
    for cell in case["expected"]["confusion_loo"].as_array().ok_or("no confusion")? {
        let at = |key: &str| SEGMENTS.iter().position(|segment| cell[key] == **segment).ok_or("no segment");
        assert_eq!(Some(confusion.counts[at("truth")? * 3 + at("predicted")?]), cell["Freq"].as_u64());
    }
    for (prior, segment) in model.priors.iter().zip(SEGMENTS) {
        assert!(is_close(&case, *prior, case["expected"]["prior"][segment].as_f64().ok_or("no prior")?));
    }
    Ok(())
}

/// Segments, answers and folds of the questions' data.
struct Questions {
    case: Value,
    features: Vec<String>,
    truth: Vec<u32>,
    answers: Vec<u32>,
    folds: Vec<u32>,
}

fn questions(name: &str) -> Outcome<Option<Questions>> {
    let Some(folder) = reference("panel") else {
        return Ok(None);
    };
    let case = json(folder.join(format!("cases/{name}.json")))?;
    let data = rows(folder.join("data/typing_questions.csv"))?;
    let features: Vec<String> = names(&case["params"]["features"]).into_iter().map(str::to_owned).collect();
    let columns: Vec<&str> = features.iter().map(String::as_str).collect();
    let answers = matrix(&data, &columns)?.into_iter().map(|answer| answer as u32).collect();
    let folds = numbers(&data, "fold")?.into_iter().map(|fold| fold as u32).collect();
    Ok(Some(Questions { truth: segments(&data, "stype"), case, features, answers, folds }))
}

#[test]
fn naive_bayes() -> Outcome {
    let Some(Questions { case, features, truth, answers, folds }) = questions("typing_nb")? else {
        return Ok(());
    };
    let all: Vec<usize> = (0..features.len()).collect();
    let data = Answers::new(3, &truth, &[5; 5], &answers)?;
    let model = NaiveBayes::fit(&data, &all, 1.0, |_| true)?;
    let expected = &case["expected"];
    for (segment, name) in SEGMENTS.iter().enumerate() {
        let wanted = expected["class_log_prior"][name].as_f64().ok_or("no prior")?;
        assert!(is_close(&case, model.log_priors[segment], wanted), "{name}");
        for (question, feature) in features.iter().enumerate() {
            for level in 0..5 {
                let wanted = expected["feature_log_prob"][feature][name][level].as_f64().ok_or("no probability")?;
                let found = model.log_likelihoods[question][segment * 5 + level];
                assert!(is_close(&case, found, wanted), "{feature} {name} {level}: {found} {wanted}");
            }
        }
    }
    let folder = reference("panel").ok_or("no vectors")?;
    let rows = rows(folder.join("expected/typing_nb.csv"))?;
    let mut predicted = Vec::new();
    for (person, wanted) in rows.iter().enumerate() {
        let own = &answers[person * 5..person * 5 + 5];
        for (found, segment) in model.probabilities(own)?.into_iter().zip(SEGMENTS) {
            assert!(is_close(&case, found, wanted[&format!("post_{segment}")].parse()?), "{person} {segment}: {found}");
        }
        predicted.push(model.predict(own)?);
    }
    assert_eq!(predicted, segments(&rows, "class"));
    let judged = cross_validated(&data, &all, &folds, 1.0)?;
    assert_eq!(judged, segments(&rows, "cv_class"));
    let accuracy = |of: &dyn Fn(usize) -> bool, predicted: &[u32]| {
        let people: Vec<usize> = (0..truth.len()).filter(|&person| of(person)).collect();
        people.iter().filter(|&&person| predicted[person] == truth[person]).count() as f64 / people.len() as f64
    };
    let close = |key: &Value, found: f64| is_close(&case, found, key.as_f64().unwrap_or(f64::NAN));
    assert!(close(&expected["accuracy_resubstitution"], accuracy(&|_| true, &predicted)));
    assert!(close(&expected["accuracy_cv"], accuracy(&|_| true, &judged)));
    for fold in 0..5 {
        let found = accuracy(&|person| folds[person] == fold, &judged);
        assert!(close(&expected["accuracy_cv_by_fold"][fold as usize], found), "fold {fold}: {found}");
    }
    Ok(())
}

#[test]
fn the_choice_of_questions() -> Outcome {
    let Some(Questions { case, features, truth, answers, folds }) = questions("typing_golden")? else {
        return Ok(());
    };
    let data = Answers::new(3, &truth, &[5; 5], &answers)?;
    let expected = &case["expected"];
    let named = |questions: &[usize]| questions.iter().map(|&question| features[question].clone()).collect::<Vec<_>>();
    for count in 1..=3 {
        let wanted = &expected["best_subset"][count.to_string()];
        let found = best_questions(&data, count, &folds, 1.0)?;
        assert_eq!(
            (named(&found.questions), Some(found.correct)),
            (names(&wanted["questions"]).into_iter().map(str::to_owned).collect(), wanted["correct"].as_u64(),)
        );
        assert!(found.is_exhaustive);
    }
    let path = forward_questions(&data, 3, &folds, 1.0)?;
    assert_eq!(named(&path[2].questions), names(&expected["forward_path"]));
    let correct: Vec<Option<u64>> = path.iter().map(|chosen| Some(chosen.correct)).collect();
    let wanted: Vec<Option<u64>> = expected["forward_correct"].as_array().ok_or("no path")?.iter().map(Value::as_u64).collect();
    assert_eq!(correct, wanted);
    // Chosen inside the folds the accuracy is a little lower, and still above calling everybody E.
    let judged = Confusion::new(3, &truth, &honest(&data, 3, &folds, 1.0)?)?;
    assert!(judged.correct() <= path[2].correct + 6 && judged.accuracy() > judged.baseline(), "{judged:?}");
    Ok(())
}
