//! Writes what the Helm chart has in common with the rest: the definition of Models and the version. Then Helm, where it is
//! built, has its say about every set of values in `charts/modelwright/ci`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

use crate::{cluster::Programs, crds::keep};

/// Where the chart is.
const CHART: &str = "charts/modelwright";
/// What repairs a stale file.
const COMMAND: &str = "cargo xtask chart";
/// An API that clusters have only where it was installed.
const OPTIONAL_API: &str = "monitoring.coreos.com/v1";

/// What stands before the definition in its template. Helm leaves it out of what it applies.
const TEMPLATE_HEAD: &str = "\
{{- /* Generated from crates/api by `cargo xtask chart`. Do not edit. */ -}}
{{- if .Values.crds.install }}
";
/// Where metadata is inserted.
const NAME: &str = "metadata:\n  name: models.modelwright.dev\n";
/// The metadata of the template. Helm deletes what it applied, and with the definition every Model would go.
const METADATA: &str = "\
metadata:
  name: models.modelwright.dev
  labels: {{- include \"modelwright.labels\" . | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
";

/// Writes the generated files of the chart, or with `check` fails if one would change or Helm finds fault with the chart.
pub(crate) fn generate(check: bool) -> anyhow::Result<()> {
    let chart = crate::root().join(CHART);
    let template = crd_template(&modelwright_api::crd::crd_yaml()?)?;
    keep(&format!("{CHART}/templates/crd.yaml"), &template, COMMAND, check)?;
    let file = chart.join("Chart.yaml");
    let current = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let versioned = with_version(&current, env!("CARGO_PKG_VERSION"))?;
    keep(&format!("{CHART}/Chart.yaml"), &versioned, COMMAND, check)?;
    if check {
        let helm = Programs::folder_of_sources()?.program("helm");
        if helm.is_file() {
            Helm { program: helm, chart }.check()?;
        } else {
            eprintln!("Helm is not built, so the chart was not rendered: cargo xtask cluster build");
        }
    }
    Ok(())
}

/// The definition of Models as a template of Helm.
fn crd_template(definition: &str) -> anyhow::Result<String> {
    // Descriptions may hold what a template would take for its own.
    let literal = definition.replace("{{", "{{ \"{{\" }}");
    ensure!(literal.matches(NAME).count() == 1, "the definition of Models does not hold once:\n{NAME}");
    let body = literal
        .lines()
        .skip_while(|line| line.starts_with('#'))
        .fold(String::new(), |body, line| body + line + "\n");
    Ok(format!("{TEMPLATE_HEAD}{}{{{{- end }}}}\n", body.replacen(NAME, METADATA, 1)))
}

/// `Chart.yaml` with both of its versions replaced.
fn with_version(chart: &str, version: &str) -> anyhow::Result<String> {
    let mut text = String::with_capacity(chart.len());
    let mut replaced = 0;
    for line in chart.lines() {
        match line.split_once(": ") {
            Some((key @ ("version" | "appVersion"), _)) => {
                replaced += 1;
                text.extend([key, ": ", version]);
            }
            _ => text += line,
        }
        text.push('\n');
    }
    ensure!(replaced == 2, "{CHART}/Chart.yaml needs one `version:` and one `appVersion:`");
    Ok(text)
}

/// Helm and what it looks at.
struct Helm {
    program: PathBuf,
    chart: PathBuf,
}

impl Helm {
    /// Lints and renders the chart with every set of values, and sees that what must be refused is.
    fn check(&self) -> anyhow::Result<()> {
        let sets = value_sets(&self.chart.join("ci"))?;
        for set in &sets {
            let values = format!("--values={}", set.display());
            self.run(&["lint", "--strict", "--quiet", &values])?;
            self.run(&["template", "modelwright", "--api-versions", OPTIONAL_API, &values])?;
        }
        for (setting, expected) in REFUSED {
            let Err(error) = self.run(&["template", "modelwright", "--set-json", setting]) else {
                bail!("the chart takes {setting}, which it must refuse");
            };
            let error = error.to_string();
            ensure!(
                error.contains(expected),
                "the chart refuses {setting} without saying `{expected}`:\n{error}"
            );
        }
        self.check_scaler()?;
        eprintln!(
            "Helm accepts the chart with {} sets of values and refuses {} mistakes",
            sets.len(),
            REFUSED.len()
        );
        Ok(())
    }

    /// The port for autoscalers is there where it is wanted, with everything that belongs to it, and nowhere else.
    fn check_scaler(&self) -> anyhow::Result<()> {
        let render = |setting: &str| self.run(&["template", "modelwright", "--set-json", setting]);
        let of_keda = "kubernetes.io/metadata.name: keda";
        let off = render("externalScaler.enabled=false")?;
        ensure!(
            !off.contains("9092") && !off.contains(of_keda),
            "the port for autoscalers is there unasked:\n{off}"
        );
        let on = render("externalScaler.enabled=true")?;
        for expected in [
            "name: modelwright-operator-scaler",
            "name: MODELWRIGHT_SCALER_LISTEN",
            "{name: scaler, containerPort: 9092, protocol: TCP}",
            "{name: scaler, port: 9092, targetPort: scaler,",
            "- {port: 9092, protocol: TCP}",
            of_keda,
        ] {
            ensure!(on.contains(expected), "externalScaler.enabled lacks `{expected}`:\n{on}");
        }
        let open = render("externalScaler.enabled=true,externalScaler.from=[]")?;
        ensure!(!open.contains(of_keda), "an empty externalScaler.from is not everyone:\n{open}");
        Ok(())
    }

    /// Runs one of Helm's commands on the chart, and returns what it prints.
    fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.program)
            .args(arguments)
            .arg(&self.chart)
            // No cluster is asked, whatever the user's configuration says.
            .env("KUBECONFIG", "/dev/null")
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        ensure!(
            output.status.success(),
            "helm {} ended with {}:\n{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Values that are mistakes, and what the message must name.
const REFUSED: [(&str, &str); 10] = [
    ("operatr.replicas=1", "operatr"),
    ("operator.replcas=1", "replcas"),
    ("platform=\"Openshift\"", "platform"),
    ("image.repository=\"registry.example.com/modelwright:1\"", "repository"),
    (
        "operator.extraEnv=[{\"name\":\"MODELWRIGHT_PLATFORM\",\"value\":\"OpenShift\"}]",
        "MODELWRIGHT_PLATFORM",
    ),
    ("metrics.podMonitor.enabled=true", OPTIONAL_API),
    ("metrics.modelServers.podMonitor.enabled=true", OPTIONAL_API),
    ("watchNamespaces=[\"Team-A\"]", "watchNamespaces"),
    ("externalScaler.enabled=\"yes\"", "externalScaler"),
    ("watchNamespaces=[\"a\"],test.namespace=\"b\"", "test.namespace"),
];

/// The files of a folder that are sets of values, in order.
fn value_sets(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut sets = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    sets.retain(|path| path.to_string_lossy().ends_with("-values.yaml"));
    sets.sort();
    ensure!(!sets.is_empty(), "{} has no set of values", folder.display());
    Ok(sets)
}

#[cfg(test)]
mod tests;
