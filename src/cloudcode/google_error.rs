//! Google's JSON error object, read leniently: a member of an unexpected type counts as absent.

use serde_json::Value;

/// The parts of `{"error":{code,status,message,details[]}}` that classification uses.
#[derive(Debug, Default)]
pub(super) struct GoogleError {
    pub(super) code: Option<u16>,
    /// Canonical status name such as `RESOURCE_EXHAUSTED`, or an OAuth error code such as `invalid_grant`.
    pub(super) status: Option<String>,
    pub(super) message: Option<String>,
    /// `ErrorInfo.reason` of every detail, and the reasons of the older `errors[]`.
    pub(super) reasons: Vec<String>,
    /// `ErrorInfo.metadata.quotaResetDelay`.
    pub(super) quota_reset_delay: Option<String>,
    /// `ErrorInfo.metadata.quotaResetTimeStamp`.
    pub(super) quota_reset_stamp: Option<String>,
    /// `ErrorInfo.metadata.validation_url`.
    pub(super) validation_url: Option<String>,
    /// `RetryInfo.retryDelay`.
    pub(super) retry_delay: Option<String>,
    /// `QuotaFailure.violations[].quotaId` (or its metric, where there is no id).
    pub(super) quota_ids: Vec<String>,
}

impl GoogleError {
    /// Reads the first error object of `body`: an object, or an array of such objects. `None` when there is none.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        let holder = match &value {
            Value::Array(items) => items.iter().find(|item| item.get("error").is_some())?,
            other => other,
        };
        match holder.get("error")? {
            Value::Object(error) => {
                let mut parsed = Self {
                    code: error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()),
                    status: error.get("status").and_then(owned),
                    message: error.get("message").and_then(owned).map(unwrap_nested),
                    ..Self::default()
                };
                let list = |name| error.get(name).and_then(Value::as_array).into_iter().flatten();
                for detail in list("details") {
                    parsed.read_detail(detail);
                }
                parsed.reasons.extend(list("errors").filter_map(|one| one.get("reason").and_then(owned)));
                Some(parsed)
            }
            Value::String(code) => Some(Self {
                status: Some(code.clone()),
                message: holder.get("error_description").and_then(owned),
                ..Self::default()
            }),
            _ => None,
        }
    }

    fn read_detail(&mut self, detail: &Value) {
        self.reasons.extend(detail.get("reason").and_then(owned));
        self.retry_delay = self.retry_delay.take().or_else(|| detail.get("retryDelay").and_then(owned));
        if let Some(metadata) = detail.get("metadata") {
            for (slot, name) in [
                (&mut self.quota_reset_delay, "quotaResetDelay"),
                (&mut self.quota_reset_stamp, "quotaResetTimeStamp"),
                (&mut self.validation_url, "validation_url"),
            ] {
                if slot.is_none() {
                    *slot = metadata.get(name).and_then(owned);
                }
            }
        }
        for violation in detail.get("violations").and_then(Value::as_array).into_iter().flatten() {
            let id = violation.get("quotaId").or_else(|| violation.get("quotaMetric"));
            self.quota_ids.push(id.and_then(owned).unwrap_or_default());
        }
    }

    /// Whether some reason equals one of `names`, whatever its case.
    pub(super) fn has_reason(&self, names: &[&str]) -> bool {
        self.reasons.iter().any(|reason| names.iter().any(|name| reason.eq_ignore_ascii_case(name)))
    }
}

fn owned(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A model behind Cloud Code may put its own JSON error into the message; its text is what a person can use.
fn unwrap_nested(message: String) -> String {
    if !message.trim_start().starts_with('{') {
        return message;
    }
    serde_json::from_str::<Value>(&message)
        .ok()
        .and_then(|inner| inner.pointer("/error/message").and_then(owned))
        .unwrap_or(message)
}
