//! Names, kinds, attributes and relations of the spans.

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use otel_nats::connect;
use otel_testing::Recorder;

use crate::support::{attribute, client, client_with, options, received, setting, synchronize, unique};

#[tokio::test]
async fn a_message_from_end_to_end() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let client = client_with(options(&recorder).with_message_sizes(true).with_receive_spans(true)).await;
    let mut subscriber = client.queue_subscribe(subject.clone(), "till".to_owned()).await.unwrap();
    synchronize(client.inner()).await;
    let mut own = HeaderMap::new();
    own.insert(NATS_MESSAGE_ID, "m-1");
    client.publish_with_headers(subject.clone(), own, "one book".into()).await.unwrap();
    received(&mut subscriber).await.process(async |_| Err::<(), _>("late".to_owned())).await.unwrap_err();
    let expected = "\
PRODUCER publish orders  #1
│   messaging.destination.name: orders
│   messaging.message.body.size: 8
│   messaging.message.id: m-1
│   messaging.operation.name: publish
│   messaging.operation.type: send
│   messaging.system: nats
└── CONSUMER process orders  error  ⇠ remote
        error.type: alloc::string::String
        messaging.consumer.group.name: till
        messaging.destination.name: orders
        messaging.message.body.size: 8
        messaging.message.id: m-1
        messaging.operation.name: process
        messaging.operation.type: process
        messaging.system: nats
        link → #1
CLIENT receive orders
    messaging.consumer.group.name: till
    messaging.destination.name: orders
    messaging.message.body.size: 8
    messaging.message.id: m-1
    messaging.operation.name: receive
    messaging.operation.type: receive
    messaging.system: nats
    link → #1
";
    assert_eq!(recorder.tree().replace(&subject, "orders"), expected);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_request_is_a_clients_span_and_its_reply_goes_to_an_inbox() {
    let (recorder, subject) = (Recorder::new(), unique("prices"));
    let client = client(&recorder).await;
    let mut subscriber = client.subscribe(format!("{subject}.>")).await.unwrap();
    synchronize(client.inner()).await;
    let answer = async {
        let message = received(&mut subscriber).await;
        let reply = message.reply.clone().unwrap();
        message.process(async |_| client.publish(reply, "7".into()).await).await.unwrap();
        message.into_inner().reply.unwrap().to_string()
    };
    let (reply, inbox) = tokio::join!(client.request(format!("{subject}.books"), "".into()), answer);
    reply.unwrap();
    recorder.wait_for_spans(3).await;
    let expected = "\
CLIENT request prices.books  #1
│   messaging.destination.name: prices.books
│   messaging.operation.name: request
│   messaging.operation.type: send
│   messaging.system: nats
└── CONSUMER process prices.>  ⇠ remote
    │   messaging.destination.name: prices.books
    │   messaging.destination.template: prices.>
    │   messaging.operation.name: process
    │   messaging.operation.type: process
    │   messaging.system: nats
    │   link → #1
    └── PRODUCER publish _INBOX
            messaging.destination.name: INBOX
            messaging.destination.template: _INBOX
            messaging.destination.temporary: true
            messaging.operation.name: publish
            messaging.operation.type: send
            messaging.system: nats
";
    assert_eq!(recorder.tree().replace(&subject, "prices").replace(&inbox, "INBOX"), expected);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_address_is_the_one_to_which_the_user_connects() {
    let (recorder, subject) = (Recorder::new(), unique("orders"));
    let url = setting("NATS_URL");
    let single = connect(&url).await.unwrap().with_options(options(&recorder));
    single.publish(subject.clone(), "".into()).await.unwrap();
    let several = connect(vec![url.clone(), url.clone()]).await.unwrap().with_options(options(&recorder));
    several.publish(subject.clone(), "".into()).await.unwrap();
    let [one, two] = &recorder.spans()[..] else { panic!("{}", recorder.tree()) };
    let address = |span, key| attribute(span, key);
    let recorded =
        [address(one, "server.address"), address(one, "server.port")].map(Option::unwrap).join(":");
    assert_eq!(format!("nats://{recorded}"), url);
    assert_eq!(address(two, "server.address"), None);
}

#[tokio::test]
async fn a_clients_own_inboxes_are_inboxes() {
    let (recorder, subject) = (Recorder::new(), unique("replies"));
    let own = async_nats::ConnectOptions::new().custom_inbox_prefix(subject.clone());
    let client = otel_nats::connect_with_options(setting("NATS_URL"), own).await.unwrap();
    let client = client.with_options(options(&recorder).with_server("broker.example", 4222));
    let inbox = client.new_inbox();
    let mut subscriber = client.subscribe(inbox.clone()).await.unwrap();
    client.publish(inbox.clone(), "".into()).await.unwrap();
    received(&mut subscriber).await.process(async |_| ()).await;
    for span in recorder.spans() {
        assert!(span.name.ends_with(" _INBOX"), "{}", span.name);
        assert_eq!(attribute(&span, "messaging.destination.name"), Some(inbox.clone()));
        assert_eq!(attribute(&span, "messaging.destination.temporary").as_deref(), Some("true"));
        assert_eq!(attribute(&span, "server.address").as_deref(), Some("broker.example"));
    }
    assert_eq!(recorder.spans().len(), 2);
}
