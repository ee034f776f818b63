//! The whole page.

use modelwright_api::training::Task;

use super::{
    Evaluation, Report, ReportError, classification, columns, html, importance, learning, regression, summary,
};

/// Nothing is loaded and nothing runs, whatever a name in the data says.
const HEAD: &str = "\
<!DOCTYPE html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<meta name=\"color-scheme\" content=\"light dark\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">
";

/// The page of a report that fits together.
pub(super) fn page(report: &Report<'_>) -> Result<String, ReportError> {
    let mut page = HEAD.to_owned();
    page.extend(["<title>", &html::text(report.target), ": training report</title>\n"]);
    page.extend(["<style>\n", include_str!("style.css"), "</style>\n</head>\n<body>\n"]);
    page += &summary::header(report);
    page.push_str("<main>\n");
    page += &summary::metrics(report);
    match report.evaluation {
        Evaluation::Classification { confusion, roc } => {
            page += &classification::confusion(report.classes, confusion);
            page += &classification::roc(roc)?;
        }
        Evaluation::Regression { actual, predicted } => page += &regression::section(actual, predicted)?,
    }
    page += &learning::section(&report.learning)?;
    page += &importance::section(&report.importance);
    page += &columns::section(report.columns, report.rows.training);
    page += &settings(report.settings);
    page += &reading(report.task);
    page.push_str("</main>\n</body>\n</html>\n");
    Ok(page)
}

fn settings(settings: &[(String, String)]) -> String {
    if settings.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for (name, value) in settings {
        rows += &html::row(&html::text(name), &[html::sentence(value)]);
    }
    let table = html::table("data", "Settings", &["setting", "value"], &rows);
    let introduction = "What shaped this result, defaults included. The same settings and the same data give the same model.";
    html::section("settings", "Settings", introduction, &table)
}

fn reading(task: Task) -> String {
    let mut content = String::from(
        "<ul>\n\
         <li>Look at the baselines first. A model that is not better than one of them is not worth its weights.</li>\n\
         <li>All numbers but those of test rows come from the validation rows, which also decided when training stopped. They \
         are a little too good; test rows are the honest judge.</li>\n\
         <li>Few validation rows make uncertain numbers: of 100 rows, each is a whole per cent.</li>\n",
    );
    content.push_str(match task {
        Task::Binary | Task::Multiclass => {
            "<li>Accuracy says little where one class is rare. Look at recall and precision of each class.</li>\n\
             <li>Log loss also judges how sure the model is: a wrong answer that it was sure of is expensive.</li>\n"
        }
        Task::Regression => {
            "<li>R² is how much of the variance is explained: 1 is all of it, 0 what the mean explains, and less than 0 is worse \
             than the mean.</li>\n\
             <li>MAE and RMSE are in the unit of the target; RMSE counts large misses more.</li>\n"
        }
    });
    content.push_str(
        "<li>An important column is one that the model uses, not one that causes anything. A column that is too good to be \
         true may not be known yet when a prediction is wanted.</li>\n</ul>\n",
    );
    html::section("reading", "How to read this", "", &content)
}
