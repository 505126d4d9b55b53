//! The stage: all services of the shop as processes, and the telemetry that they send.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::kafka::{Mock, create_topic, mock_cluster};
use crate::receiver::Receiver;
use crate::service::STOP_WITH_STDIN;
use crate::{Failure, Order, OrderResult};

/// The longest wait for a service to start, to stop, or to do its part.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The servers that the services talk to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Servers {
    /// Kafka's mock cluster and SQLite, in this process and in files. Without NATS and RabbitMQ, the orders end in the warehouse.
    Embedded,
    /// The servers of these addresses: `KAFKA_BROKERS`, `NATS_URL`, `RABBITMQ_URL`, `POSTGRES_URL`.
    Real(BTreeMap<&'static str, String>),
}

impl Servers {
    /// The variables with the addresses of real servers.
    pub const VARIABLES: [&str; 4] = ["KAFKA_BROKERS", "NATS_URL", "RABBITMQ_URL", "POSTGRES_URL"];

    /// Returns the servers whose addresses are in the environment.
    ///
    /// # Errors
    /// Returns an error that names a variable which is not set.
    pub fn from_env() -> Result<Self, Failure> {
        let address = |name| Ok::<_, Failure>((name, crate::setting(name)?));
        Ok(Self::Real(Self::VARIABLES.into_iter().map(address).collect::<Result<_, _>>()?))
    }
}

/// The options of a stage.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    forward: Option<String>,
    python: Option<String>,
}

impl Options {
    /// Creates the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends the telemetry of all services to this collector as well, such as `http://localhost:4318`; default: none.
    #[must_use]
    pub fn with_forward(mut self, collector: impl Into<String>) -> Self {
        self.forward = Some(collector.into());
        self
    }

    /// Runs notifications in Python, by this interpreter, which has the packages of `python/requirements.txt`; default: in Rust.
    #[must_use]
    pub fn with_python(mut self, interpreter: impl Into<String>) -> Self {
        self.python = Some(interpreter.into());
        self
    }

    /// Returns true if notifications run in Python.
    #[must_use]
    pub fn has_python(&self) -> bool {
        self.python.is_some()
    }
}

/// The running services.
#[derive(Debug)]
pub struct Stage {
    /// The receiver of all telemetry.
    pub receiver: Receiver,
    gateway: String,
    folder: PathBuf,
    python: Option<String>,
    settings: BTreeMap<&'static str, String>,
    processes: Vec<Process>,
    lines: mpsc::UnboundedReceiver<String>,
    sender: mpsc::UnboundedSender<String>,
    http: reqwest::Client,
    mock: Option<Mock>,
}

#[derive(Debug)]
struct Process {
    binary: &'static str,
    address: String,
    child: Child,
    /// Its end stops the service, also when this program is killed.
    _stdin: Option<ChildStdin>,
}

impl Stage {
    /// Starts all services, with their files in `folder`.
    ///
    /// # Errors
    /// Returns an error that names the service which did not start.
    pub async fn start(servers: &Servers, folder: &Path, options: Options) -> Result<Self, Failure> {
        let receiver = Receiver::start(options.forward).await?;
        let mut settings = BTreeMap::from([
            ("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint()),
            ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1000".to_owned()),
            ("RUST_LOG", "warn".to_owned()),
            ("SHOP_SLOW", "kim,sam".to_owned()),
            ("SHOP_DATA", folder.display().to_string()),
        ]);
        let mock = match servers {
            Servers::Embedded => {
                let (brokers, mock) = mock_cluster().await?;
                settings.insert("KAFKA_BROKERS", brokers);
                let ledger = format!("sqlite://{}?mode=rwc", folder.join("ledger").display());
                settings.insert("SHOP_LEDGER", ledger);
                Some(mock)
            }
            Servers::Real(addresses) => {
                settings.extend(addresses.iter().map(|(name, address)| (*name, address.clone())));
                let ledger = addresses.get("POSTGRES_URL").cloned().unwrap_or_default();
                settings.insert("SHOP_LEDGER", ledger);
                create_topic(&addresses["KAFKA_BROKERS"]).await?;
                None
            }
        };
        let (sender, lines) = mpsc::unbounded_channel();
        let mut stage = Self {
            receiver,
            gateway: String::new(),
            folder: folder.to_owned(),
            python: options.python,
            settings,
            processes: Vec::new(),
            lines,
            sender,
            http: reqwest::Client::new(),
            mock,
        };
        stage.start_services(matches!(servers, Servers::Real(_))).await?;
        Ok(stage)
    }

    /// Starts the services from the last one to the first, so that each finds those that it calls.
    async fn start_services(&mut self, with_brokers: bool) -> Result<(), Failure> {
        if with_brokers {
            for service in ["shop-notifications", "shop-invoicing", "shop-stock"] {
                self.spawn(service, None).await?;
            }
        }
        self.spawn("shop-warehouse", None).await?;
        let catalogue = self.spawn("shop-catalogue", None).await?;
        let payments = [self.spawn("shop-payment", None).await?, self.spawn("shop-payment", None).await?];
        self.settings.insert("SHOP_CATALOGUE", format!("http://{catalogue}"));
        self.settings.insert("SHOP_PAYMENTS", payments.join(","));
        let orders = self.spawn("shop-orders", None).await?;
        self.settings.insert("SHOP_ORDERS", format!("http://{orders}"));
        self.gateway = format!("http://{}", self.spawn("shop-gateway", None).await?);
        Ok(())
    }

    /// Starts a service, and waits until it is ready. Returns its address, which is empty for one that listens to a broker.
    async fn spawn(&mut self, binary: &'static str, listen: Option<&str>) -> Result<String, Failure> {
        let mut command = self.command(binary)?;
        // The addresses of this stage alone: the shell can have those of servers that it does not use.
        for name in Servers::VARIABLES {
            command.env_remove(name);
        }
        let mut child = command
            .current_dir(&self.folder)
            .envs(&self.settings)
            .envs(listen.map(|address| ("SHOP_LISTEN", address)))
            .env(STOP_WITH_STDIN, "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C in a terminal is for this program, which stops the services in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot run {command:?}: {error}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("a process without output")?;
        let (sender, index) = (self.sender.clone(), self.processes.len());
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                // The receiver is gone after the end of the stage.
                let _ = sender.send(format!("{index} {line}"));
            }
        });
        let name = binary.trim_start_matches("shop-");
        let is_ready = format!("{index} {name} is ready");
        let ready = tokio::select! {
            ready = self.line(&is_ready) => ready?,
            status = child.wait() => return Err(format!("{binary} ended at its start: {}", status?).into()),
        };
        let address = ready.rsplit_once(" at ").map_or("", |(_, address)| address).to_owned();
        self.processes.push(Process { binary, address: address.clone(), child, _stdin: stdin });
        Ok(address)
    }

    /// Returns the command of a service.
    fn command(&self, binary: &str) -> Result<Command, Failure> {
        if let ("shop-notifications", Some(interpreter)) = (binary, &self.python) {
            let mut command = Command::new(interpreter);
            command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/notifications.py"));
            return Ok(command);
        }
        let path = std::env::current_exe()?;
        // Tests run in a folder below that of the binaries.
        let folder = path.ancestors().skip(1).find(|folder| folder.join(binary).exists());
        let folder =
            folder.ok_or_else(|| format!("build the services first: cargo build -p shop ({binary})"))?;
        Ok(Command::new(folder.join(binary)))
    }

    /// Waits for a line of a service that has this text, and returns it. Lines before it are forgotten.
    ///
    /// # Errors
    /// Returns an error if none has it within a minute.
    pub async fn line(&mut self, text: &str) -> Result<String, Failure> {
        let found = async {
            while let Some(line) = self.lines.recv().await {
                if line.contains(text) {
                    return Some(line);
                }
            }
            None
        };
        let line = timeout(PATIENCE, found).await.map_err(|_| format!("no service reported {text:?}"))?;
        line.ok_or_else(|| "the services have ended".into())
    }

    /// Places an order at the gateway.
    ///
    /// # Errors
    /// Returns an error if the gateway does not accept it.
    pub async fn order(&self, order: &Order) -> Result<OrderResult, Failure> {
        self.place(order.clone()).await
    }

    /// Places an order while the stage is in use otherwise.
    ///
    /// # Errors
    /// Returns an error if the gateway does not accept it.
    pub fn place(&self, order: Order) -> impl Future<Output = Result<OrderResult, Failure>> + use<> {
        let request = self.http.post(format!("{}/orders", self.gateway)).json(&order);
        async move { Ok(request.send().await?.error_for_status()?.json().await?) }
    }

    /// Returns a number that the gateway responds with: `items/{item}` in stock, `accounts/{customer}` in cents.
    ///
    /// # Errors
    /// Returns an error if the gateway does not respond with one.
    pub async fn number(&self, path: &str) -> Result<i64, Failure> {
        let response = self.http.get(format!("{}/{path}", self.gateway)).send().await?;
        Ok(response.error_for_status()?.json().await?)
    }

    /// Waits until an instance of the payment service hesitates to charge this customer, and kills it.
    /// [`restart`](Self::restart) starts it again.
    ///
    /// # Errors
    /// Returns an error if none does.
    pub async fn kill_payment_of(&mut self, customer: &str) -> Result<usize, Failure> {
        let line = self.line(&format!("hesitates to charge {customer}")).await?;
        let index: usize = line.split(' ').next().unwrap_or_default().parse()?;
        self.processes[index].child.kill().await?;
        Ok(index)
    }

    /// Kills a service that has one process. [`restart`](Self::restart) starts it again.
    ///
    /// # Errors
    /// Returns an error if it does not run.
    pub async fn kill(&mut self, binary: &str) -> Result<usize, Failure> {
        let is_running = |process: &Process| process.binary == binary && process.child.id().is_some();
        let index = self.processes.iter().position(is_running);
        let index = index.ok_or_else(|| format!("{binary} is not running"))?;
        self.processes[index].child.kill().await?;
        Ok(index)
    }

    /// Returns the processes of the services: their binaries and process ids. One that has ended is left out.
    #[must_use]
    pub fn processes(&self) -> Vec<(&'static str, u32)> {
        let ids = self.processes.iter().filter_map(|process| Some((process.binary, process.child.id()?)));
        ids.collect()
    }

    /// Starts a killed service again, at its old address.
    ///
    /// # Errors
    /// Returns an error if it does not start.
    pub async fn restart(&mut self, index: usize) -> Result<(), Failure> {
        let Process { binary, address, .. } = &self.processes[index];
        let (binary, address) = (*binary, address.clone());
        self.spawn(binary, Some(&address)).await?;
        Ok(())
    }

    /// Waits until the trace of an order is complete. The span with which it ends is that of the warehouse, or of the notification.
    ///
    /// # Errors
    /// Returns an error if it is not within a minute.
    pub async fn wait_for(&self, result: &OrderResult) -> Result<(), Failure> {
        let last = match &*result.status {
            "completed" if self.mock.is_some() => ("warehouse", "process order-placed"),
            "completed" => ("notifications", "process SHIPMENTS"),
            _ => ("gateway", "POST /orders"),
        };
        let complete = async {
            while !self.receiver.is_complete(&result.trace, last) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if timeout(PATIENCE, complete).await.is_ok() {
            return Ok(());
        }
        let traces = self.receiver.traces()?;
        let trace = traces.iter().find(|trace| trace.id.to_string() == result.trace);
        let drawn = trace.map(|trace| otel_waterfall::text(trace, &otel_waterfall::Style::new()));
        let drawn = drawn.unwrap_or_default();
        Err(format!("the trace {} of an order is incomplete without {last:?}\n{drawn}", result.trace).into())
    }

    /// Stops the services in the order of the calls, so that each still reaches those that it calls, and returns the receiver.
    ///
    /// # Errors
    /// Returns an error that names a service which did not end well.
    pub async fn stop(mut self) -> Result<Receiver, Failure> {
        for mut process in self.processes.drain(..).rev() {
            let Some(id) = process.child.id() else { continue };
            Command::new("kill").arg(id.to_string()).status().await?;
            let status = timeout(PATIENCE, process.child.wait()).await;
            let status = status.map_err(|_| format!("{} did not stop", process.binary))??;
            if !status.success() {
                return Err(format!("{} ended with {status}", process.binary).into());
            }
        }
        if let Some((stop, thread)) = self.mock.take() {
            drop(stop);
            // The thread ends with the sender.
            let _ = tokio::task::spawn_blocking(|| thread.join()).await;
        }
        Ok(self.receiver)
    }
}
