//! Kubernetes 1.36 without nodes, for one step of `cargo xtask ci --full`: etcd, the API server and the controllers, built from
//! Go modules. Nothing is ever scheduled on it.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{answer, program, run},
    services::{
        daemon::{self, Process},
        debian, go, probe,
    },
};

/// The source, by the names of its files. The programs are tools of its module.
const SOURCE: [(&str, &str); 3] = [
    ("go.mod", include_str!("kubernetes/go.mod")),
    ("go.sum", include_str!("kubernetes/go.sum")),
    ("tools.go", include_str!("kubernetes/tools.go")),
];

/// The source of the program that reads a mesh configuration; one of its dependencies has Istio's definitions of resources.
const ISTIO: [(&str, &str); 3] = [
    ("go.mod", include_str!("istio/go.mod")),
    ("go.sum", include_str!("istio/go.sum")),
    ("main.go", include_str!("istio/main.go")),
];

/// The controllers that create the pods of workloads, and those that fill what the admission reads.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,statefulset-controller,\
    horizontal-pod-autoscaler-controller,disruption-controller,resourcequota-controller,serviceaccount-controller,\
    namespace-controller,garbage-collector-controller";

/// The longest wait for the API server, which is up within seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running cluster, which stops on drop.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The folder of generated files.
    pub(crate) folder: PathBuf,
    kubectl: PathBuf,
    config: PathBuf,
    processes: Vec<Process>,
}

impl Cluster {
    /// Builds the programs, and starts them with empty data.
    pub(crate) fn start(root: &Path) -> Result<Self> {
        let folder = root.join("target/services/kubernetes");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let missing: Vec<_> =
            [("openssl", "openssl")].into_iter().filter(|(name, _)| !debian::has(name)).collect();
        debian::install(root, &missing)?;
        let built = |package, name| go::build(&folder, &SOURCE, package, name);
        let etcd = built("go.etcd.io/etcd/server/v3", "etcd")?;
        let server = built("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver")?;
        let manager = built("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager")?;
        let kubectl = built("k8s.io/kubernetes/cmd/kubectl", "kubectl")?;

        let data = folder.join("data");
        daemon::remove_data(&data)?;
        let of_process = |name: &str| {
            let folder = data.join(name);
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
            Ok::<_, anyhow::Error>(folder)
        };
        let [client, peer, secure, metrics] = probe::free_ports()?;
        let config = data.join("kubeconfig");
        write_credentials(&data, secure)?;
        let mut cluster = Self { folder, kubectl, config, processes: Vec::new() };

        let [client, peer] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
        let mut command = Command::new(etcd);
        command.args(["--data-dir", "etcd", "--unsafe-no-fsync", "--log-level", "warn"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}")]);
        cluster.processes.push(Process::start(&mut command, &of_process("etcd")?)?);

        let mut command = Command::new(server);
        command.args([
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--cert-dir=certificates",
        ]);
        command.args([format!("--etcd-servers={client}"), format!("--secure-port={secure}")]);
        command.args(["--authorization-mode=RBAC", "--token-auth-file=../tokens.csv"]);
        command.args(["--service-account-issuer=https://kubernetes.default.svc"]);
        command.args(["--service-account-key-file=../accounts.pub"]);
        command.args(["--service-account-signing-key-file=../accounts.key"]);
        command.args(["--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none"]);
        let api = of_process("api")?;
        cluster.processes.push(Process::start(&mut command, &api)?);
        cluster.wait_until_ready(&api)?;

        let mut command = Command::new(manager);
        command
            .arg("--kubeconfig")
            .arg(&cluster.config)
            .args(["--bind-address=127.0.0.1", "--leader-elect=false"]);
        command.args([format!("--secure-port={metrics}"), format!("--controllers={CONTROLLERS}")]);
        cluster.processes.push(Process::start(&mut command, &of_process("controllers")?)?);
        Ok(cluster)
    }

    /// A command of kubectl for this cluster.
    pub(crate) fn kubectl(&self, root: &Path) -> Command {
        let mut command = program(&self.kubectl.display().to_string(), root);
        command.arg("--kubeconfig").arg(&self.config);
        command
    }

    fn wait_until_ready(&self, api: &Path) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while answer(self.kubectl(api).args(["get", "--raw", "/readyz"])).as_deref() != Some("ok") {
            if Instant::now() >= deadline || self.processes.iter().any(|process| !process.is_running()) {
                bail!("the API server is not ready; {}", daemon::log_end(api));
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.processes.iter().rev() {
            if let Err(error) = process.stop("TERM") {
                println!("{error:#}");
            }
        }
    }
}

/// Writes the keys of service accounts, the token of the administrator, and the file with which kubectl uses it.
fn write_credentials(data: &Path, port: u16) -> Result<()> {
    fs::create_dir_all(data).with_context(|| format!("cannot create {}", data.display()))?;
    run(program("openssl", data).args(["genrsa", "-out", "accounts.key", "2048"]))?;
    run(program("openssl", data).args(["rsa", "-in", "accounts.key", "-pubout", "-out", "accounts.pub"]))?;
    let mut random = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .context("no random bytes")?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: local\n\
         clusters: [{{name: local, cluster: {{server: 'https://127.0.0.1:{port}', insecure-skip-tls-verify: true}}}}]\n\
         users: [{{name: admin, user: {{token: '{token}'}}}}]\n\
         contexts: [{{name: local, context: {{cluster: local, user: admin}}}}]\n"
    );
    for (name, text) in [("tokens.csv", format!("{token},admin,1,system:masters\n")), ("kubeconfig", config)]
    {
        let path = data.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What Istio has of itself in a Go module.
#[derive(Debug)]
pub(crate) struct Istio {
    /// The file with the definitions of its resources.
    pub(crate) definitions: PathBuf,
    /// The program that reads the mesh configuration in a file of Helm values.
    pub(crate) mesh_configuration: PathBuf,
}

impl Istio {
    /// Downloads the module, and builds the program.
    pub(crate) fn get(root: &Path) -> Result<Self> {
        let folder = root.join("target/services/istio");
        let module = go::module(&folder, &ISTIO, "istio.io/api")?;
        Ok(Self {
            definitions: module.join("kubernetes/customresourcedefinitions.gen.yaml"),
            mesh_configuration: go::build(&folder, &ISTIO, ".", "mesh-configuration")?,
        })
    }
}
