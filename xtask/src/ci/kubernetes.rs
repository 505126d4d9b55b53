//! The step `kubernetes`: a real API server accepts all manifests of `deploy`, and its controllers create their pods.
//!
//! It has no nodes: nothing is scheduled, and no container starts.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    ci::Outcome,
    process::{answer, program, run_within},
    repo::Repo,
    services::{
        debian,
        kubernetes::{Cluster, Istio},
    },
    tidy,
};

/// A folder with the definitions of the OpenTelemetry Operator (`config/crd/bases` of its repository), which no package has.
const OPERATOR_DEFINITIONS: &str = "OPENTELEMETRY_OPERATOR_CRDS";

/// The longest time that one command may take; each takes seconds.
const LIMIT: Duration = Duration::from_secs(120);

const OVERLAYS: [&str; 2] =
    ["deploy/kubernetes/overlays/development", "deploy/kubernetes/overlays/production"];

/// The pods of the production overlay, by workload. Two of the gateway are the autoscaler's decision.
const PODS: [(&str, u8); 8] = [
    ("deployment/catalogue", 1),
    ("deployment/gateway", 2),
    ("deployment/invoicing", 2),
    ("deployment/notifications", 2),
    ("deployment/stock", 1),
    ("deployment/warehouse", 1),
    ("statefulset/orders", 1),
    ("statefulset/payment", 2),
];

pub(super) fn kubernetes(repo: &Repo) -> Result<Outcome> {
    let cluster = match Cluster::start(&repo.root) {
        Ok(cluster) => cluster,
        Err(error) if !debian::has("go") => return Ok(Outcome::Skipped(format!("{error:#}"))),
        Err(error) => return Err(error),
    };
    let step = Step { repo, cluster };
    step.kubectl(&["apply", "--filename", "deploy/kubernetes/overlays/production/namespace.yaml"])?;
    step.overlays()?;
    step.istio()?;
    step.linkerd()?;
    step.operator()?;
    step.application()?;
    step.refusals()?;
    step.roles()?;
    Ok(Outcome::Passed)
}

struct Step<'a> {
    repo: &'a Repo,
    cluster: Cluster,
}

impl Step<'_> {
    fn overlays(&self) -> Result<()> {
        for overlay in OVERLAYS {
            let rendered = self.rendered(overlay, overlay)?;
            self.dry_run(&rendered)?;
            self.refuses(&rendered, "readinessProbe:", "readynessProbe:")?;
        }
        Ok(())
    }

    fn istio(&self) -> Result<()> {
        let istio = Istio::get(&self.repo.root)?;
        self.define(&istio.definitions)?;
        let rendered = self.rendered("deploy/istio", "istio")?;
        self.dry_run(&rendered)?;
        self.refuses(&rendered, "randomSamplingPercentage:", "randomSamplingPercent:")?;

        let values = "deploy/istio/values.yaml";
        let reader = istio.mesh_configuration.display().to_string();
        let read = |path: &str| {
            let mut command = program(&reader, &self.repo.root);
            command.arg(path);
            command
        };
        run_within(&mut read(values), LIMIT)?;
        let text = fs::read_to_string(self.repo.root.join(values)).context("cannot read the values")?;
        let wrong = self.write("misspelt", &text.replace("extensionProviders:", "extensionProvider:"))?;
        fails(&mut read(&wrong.display().to_string()), "unknown field \"extensionProvider\"")?;
        Ok(())
    }

    /// The component in the overlay that it is meant for.
    fn linkerd(&self) -> Result<()> {
        let folder = self.cluster.folder.join("linkerd");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        // From `target/services/kubernetes/linkerd`: kustomize allows no absolute path.
        let kustomization = format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: shop\n\
             resources: [../../../../{}]\ncomponents: [../../../../deploy/linkerd]\n",
            OVERLAYS[1]
        );
        fs::write(folder.join("kustomization.yaml"), kustomization)
            .context("cannot write a kustomization")?;
        let rendered = self.rendered(&folder.display().to_string(), "linkerd-shop")?;
        let text = fs::read_to_string(&rendered)?;
        let injected = text.matches("linkerd.io/inject: enabled").count();
        if injected != PODS.len() {
            bail!("{injected} of {} workloads have a proxy of Linkerd", PODS.len());
        }
        self.dry_run(&rendered)
    }

    fn operator(&self) -> Result<()> {
        let Some(definitions) = env::var_os(OPERATOR_DEFINITIONS) else {
            println!(
                "{OPERATOR_DEFINITIONS} is not set: the resources of the Operator are not sent to the API server"
            );
            return Ok(());
        };
        self.define(Path::new(&definitions))?;
        let rendered = self.rendered("deploy/kubernetes/operator", "operator")?;
        self.dry_run(&rendered)?;
        self.refuses(&rendered, "propagators:", "propagator:")
    }

    /// Creates the production overlay, and waits until the controllers have created each of its pods: under the quota, the
    /// limits, the service accounts and the namespace's pod security.
    fn application(&self) -> Result<()> {
        let secret =
            ["--from-literal=RABBITMQ_URL=amqp://rabbitmq", "--from-literal=SHOP_LEDGER=postgres://ledger"];
        self.kubectl(
            &[&["create", "secret", "generic", "shop", "--namespace", "shop"], &secret[..]].concat(),
        )?;
        self.kubectl(&["apply", "--kustomize", OVERLAYS[1]])?;
        for (workload, pods) in PODS {
            let condition = format!("--for=jsonpath={{.status.replicas}}={pods}");
            self.kubectl(&["wait", &condition, "--timeout=60s", "--namespace", "shop", workload])?;
        }
        Ok(())
    }

    /// The rules of the namespace hold for other pods as well, so that the pods above were accepted by them.
    fn refusals(&self) -> Result<()> {
        for (fields, reason) in [
            ("containers: [{name: a, image: a:1.0}]", "violates PodSecurity \"restricted:latest\""),
            (
                "serviceAccountName: nobody, containers: [{name: a, image: a:1.0}]",
                "service account shop/nobody",
            ),
            (
                "securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}, containers: [{name: a, \
                 image: a:1.0, resources: {requests: {cpu: 7}}, \
                 securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]",
                "exceeded quota: shop",
            ),
        ] {
            let pod = format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: a, namespace: shop}}, spec: {{{fields}}}}}"
            );
            let path = self.write("refused", &pod)?;
            let path = path.display().to_string();
            fails(&mut self.command(&["create", "--dry-run=server", "--filename", &path]), reason)?;
        }
        Ok(())
    }

    fn roles(&self) -> Result<()> {
        self.kubectl(&[
            "apply",
            "--filename",
            "deploy/kubernetes/operator/access.yaml",
            "--namespace",
            "shop",
        ])?;
        let collector = "--as=system:serviceaccount:shop:shop-collector";
        let gateway = "--as=system:serviceaccount:shop:gateway";
        let on_call = ["--as=ada", "--as-group=shop-on-call"];
        for (who, verb, resource, may) in [
            (&[collector][..], "watch", "pods", true),
            (&[collector], "list", "replicasets.apps", true),
            (&[collector], "delete", "pods", false),
            (&[gateway], "list", "pods", false),
            (&on_call, "delete", "pods", true),
            (&on_call, "get", "pods/log", true),
            (&on_call, "get", "secrets", false),
        ] {
            let mut command = self.command(&["auth", "can-i", verb, resource, "--namespace", "shop"]);
            // It exits with 1 after `no`.
            let output = command.args(who).output().context("cannot start kubectl")?;
            let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            println!("{}: {verb} {resource}: {answer}", who.join(" "));
            if answer != if may { "yes" } else { "no" } {
                bail!("`kubectl auth can-i {verb} {resource}` as {} answers `{answer}`", who.join(" "));
            }
        }
        Ok(())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.cluster.kubectl(&self.repo.root);
        command.args(arguments);
        command
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<()> {
        run_within(&mut self.command(arguments), LIMIT)
    }

    /// Renders a kustomization into a file, and checks its workloads against the source.
    fn rendered(&self, folder: &str, name: &str) -> Result<PathBuf> {
        let output = self.command(&["kustomize", folder]).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            bail!("`kubectl kustomize {folder}` failed: {}", output.status);
        }
        let text = String::from_utf8(output.stdout).context("kustomize wrote no UTF-8")?;
        if OVERLAYS.contains(&folder) {
            let findings = tidy::check_rendered(self.repo, folder, &text)?;
            if !findings.is_empty() {
                bail!("the rendered workloads disagree with the source:\n{}", findings.join("\n"));
            }
        }
        self.write(&name.replace('/', "-"), &text)
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.cluster.folder.join(format!("{name}.yaml"));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    fn dry_run(&self, path: &Path) -> Result<()> {
        self.kubectl(&[&DRY_RUN[..], &["--filename", &path.display().to_string()]].concat())
    }

    /// The same file with a misspelt field is refused, so that the fields of the others were read.
    fn refuses(&self, path: &Path, field: &str, misspelt: &str) -> Result<()> {
        let text = fs::read_to_string(path)?;
        if !text.contains(field) {
            bail!("{} has no field {field}", path.display());
        }
        let wrong = self.write("misspelt", &text.replacen(field, misspelt, 1))?;
        let name = misspelt.trim_end_matches(':');
        let wrong = wrong.display().to_string();
        let mut command = self.command(&DRY_RUN);
        let output = fails(command.args(["--filename", &wrong]), "unknown field \"")?;
        if !output.contains(&format!("{name}\"")) {
            bail!("the API server refuses {field} without naming `{name}`");
        }
        Ok(())
    }

    /// Creates the definitions of resources in a file or a folder, and waits until the API server serves them.
    fn define(&self, definitions: &Path) -> Result<()> {
        let path = definitions.display().to_string();
        // A definition is too long for the annotation of a client-side apply.
        self.kubectl(&["apply", "--server-side", "--filename", &path])?;
        // kubectl does not wait for a definition without any condition yet, but fails.
        let established = ["wait", "--for=condition=Established", "--timeout=10s", "--filename", &path];
        let deadline = Instant::now() + LIMIT;
        while answer(&mut self.command(&established)).is_none() {
            if Instant::now() >= deadline {
                bail!("the definitions of {path} are not established");
            }
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

/// Validates everything that the API server can, and stores nothing.
const DRY_RUN: [&str; 3] = ["apply", "--dry-run=server", "--validate=strict"];

/// Runs a command that has to fail with this reason, and returns its errors.
fn fails(command: &mut Command, reason: &str) -> Result<String> {
    let output = command.output().context("cannot start a program")?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() || !errors.contains(reason) {
        bail!("{command:?} was to fail with {reason:?}: {errors}");
    }
    println!("refused as it should be: {}", errors.trim());
    Ok(errors)
}
