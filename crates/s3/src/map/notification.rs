//! Notifications.

use mainstay_bucket::notification::{JOURNAL, Notification, NotificationError, Notifications, TargetKind};
use s3s::dto::{
    Event, FilterRule, FilterRuleName, GetBucketNotificationConfigurationOutput, LambdaFunctionConfiguration,
    NotificationConfiguration, NotificationConfigurationFilter, QueueConfiguration, S3KeyFilter, TopicConfiguration,
};

use crate::error::{Failure, Result};

/// A wish as all three lists have it.
type Wish = (TargetKind, Option<String>, String, Vec<Event>, Option<NotificationConfigurationFilter>);

pub fn notifications(configuration: NotificationConfiguration) -> Result<Notifications> {
    if configuration.event_bridge_configuration.is_some() {
        return Err(Failure::not_implemented("EventBridge; the journal's feed takes all events"));
    }
    let topics = configuration.topic_configurations.into_iter().flatten();
    let topics = topics.map(|wish| (TargetKind::Topic, wish.id, wish.topic_arn, wish.events, wish.filter));
    let queues = configuration.queue_configurations.into_iter().flatten();
    let queues = queues.map(|wish| (TargetKind::Queue, wish.id, wish.queue_arn, wish.events, wish.filter));
    let functions = configuration.lambda_function_configurations.into_iter().flatten();
    let functions =
        functions.map(|wish| (TargetKind::Function, wish.id, wish.lambda_function_arn, wish.events, wish.filter));
    let wishes: Vec<Wish> = topics.chain(queues).chain(functions).collect();
    let wishes =
        wishes.into_iter().enumerate().map(|(place, wish)| notification(place, wish)).collect::<Result<_, _>>();
    let all = wishes.and_then(Notifications::new);
    all.map_err(|error| Failure::invalid_argument(error.to_string()))
}

fn notification(place: usize, (kind, id, target, events, filter): Wish) -> Result<Notification, NotificationError> {
    if target != JOURNAL {
        return Err(NotificationError::Target(target));
    }
    let (mut prefix, mut suffix) = (None, None);
    let rules = filter.and_then(|filter| filter.key).and_then(|key| key.filter_rules).unwrap_or_default();
    for rule in rules {
        let name = rule.name.as_ref().map(FilterRuleName::as_str).unwrap_or_default();
        let kept = match name.to_ascii_lowercase().as_str() {
            "prefix" => &mut prefix,
            "suffix" => &mut suffix,
            _ => return Err(NotificationError::Filter(name.to_owned())),
        };
        if kept.replace(rule.value.unwrap_or_default()).is_some() {
            return Err(NotificationError::Filter(name.to_owned()));
        }
    }
    Ok(Notification {
        id: id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("notification-{}", place + 1)),
        kind,
        events: events.iter().map(|event| event.as_ref().parse()).collect::<Result<_, _>>()?,
        prefix,
        suffix,
    })
}

pub fn notifications_told(notifications: &Notifications) -> GetBucketNotificationConfigurationOutput {
    let mut told = GetBucketNotificationConfigurationOutput::default();
    for wish in notifications.iter() {
        let id = Some(wish.id.clone());
        let events = wish.events.iter().map(|event| Event::from(event.to_string())).collect();
        let filter = filter_told(wish);
        match wish.kind {
            TargetKind::Topic => told.topic_configurations.get_or_insert_default().push(TopicConfiguration {
                id,
                events,
                filter,
                topic_arn: JOURNAL.to_owned(),
            }),
            TargetKind::Queue => told.queue_configurations.get_or_insert_default().push(QueueConfiguration {
                id,
                events,
                filter,
                queue_arn: JOURNAL.to_owned(),
            }),
            TargetKind::Function => {
                told.lambda_function_configurations.get_or_insert_default().push(LambdaFunctionConfiguration {
                    id,
                    events,
                    filter,
                    lambda_function_arn: JOURNAL.to_owned(),
                });
            }
        }
    }
    told
}

fn filter_told(wish: &Notification) -> Option<NotificationConfigurationFilter> {
    let rule = |name: &'static str, value: &Option<String>| {
        value.clone().map(|value| FilterRule { name: Some(FilterRuleName::from_static(name)), value: Some(value) })
    };
    let rules: Vec<_> = [rule("prefix", &wish.prefix), rule("suffix", &wish.suffix)].into_iter().flatten().collect();
    let filter_rules = (!rules.is_empty()).then_some(rules)?;
    Some(NotificationConfigurationFilter { key: Some(S3KeyFilter { filter_rules: Some(filter_rules) }) })
}
