//! Questions that one replica asks the others, through the store: no replica needs to reach another one.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::admit::millis;
use crate::store::Store;
use crate::store::host::{Call, StoreError};
use crate::store::ident::{InvalidId, OwnerId, ReplicaId, RequestName, Stamp};
use crate::store::registry::{ASK_REPLICAS, END_QUESTION, GET_ANSWERS, PUT_ANSWER};

/// Longest answer, in bytes.
pub const ANSWER_MAX: usize = 512 * 1024;

/// What a replica can be asked. Later versions know more; one that does not understand a question leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which requests it serves.
    LiveRequests,
    /// To cancel the request of this name, if it is one of its own.
    Cancel(RequestName),
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LiveRequests => f.write_str("live"),
            Self::Cancel(request) => write!(f, "cancel {request}"),
        }
    }
}

impl FromStr for Question {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text.split_once(' ') {
            None if text == "live" => Ok(Self::LiveRequests),
            Some(("cancel", request)) => RequestName::new(request).map(Self::Cancel),
            _ => Err(InvalidId),
        }
    }
}

/// A replica that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedReplica {
    /// Its id.
    pub id: ReplicaId,
    /// The name of its machine.
    pub host: String,
}

/// What a replica answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Which.
    pub replica: ReplicaId,
    /// When, ms since the epoch by the store's clock.
    pub at_ms: i64,
    /// Its words.
    pub text: String,
}

impl Store {
    /// Asks every other replica that is alive now. Answers are taken for `life`.
    pub async fn ask_replicas(
        &self,
        own: &ReplicaId,
        id: &OwnerId,
        question: &Question,
        life: Duration,
    ) -> Result<(Stamp, Vec<AskedReplica>), StoreError> {
        let call = Call::new(&ASK_REPLICAS)
            .key(self.keys.named("meta"))
            .key(self.keys.named("replicas"))
            .key(self.keys.ask(id))
            .arg(own.as_str())
            .arg(id.as_str())
            .arg(question.to_string())
            .arg(millis(life).max(1))
            .arg(self.keys.channel());
        let mut fields = self.run(self.timed(call)).await?;
        let (_, stamp) = fields.head()?;
        let mut asked = Vec::new();
        while fields.left() > 0 {
            let id = fields.parsed("a replica's id", |id| ReplicaId::new(id).ok())?;
            asked.push(AskedReplica { id, host: fields.text("a host")? });
        }
        Ok((stamp, asked))
    }

    /// Answers a question of another replica; `false` when nobody listens any more.
    pub async fn put_answer(&self, own: &ReplicaId, id: &OwnerId, text: &str) -> Result<bool, StoreError> {
        if text.len() > ANSWER_MAX {
            return Err(StoreError::BadArgument {
                script: PUT_ANSWER.name,
                field: "answer",
                problem: "more than 512 KiB",
            });
        }
        let call = Call::new(&PUT_ANSWER)
            .key(self.keys.named("meta"))
            .key(self.keys.ask(id))
            .arg(own.as_str())
            .arg(text);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let heard = match code.as_str() {
            "OK" => true,
            "NONE" => false,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(heard)
    }

    /// What was answered so far by others than those whose answers are `known`: answers may be long, and are read once.
    pub async fn get_answers(
        &self,
        id: &OwnerId,
        known: &[Answered],
    ) -> Result<(Stamp, Vec<Answered>), StoreError> {
        let call = Call::new(&GET_ANSWERS).key(self.keys.named("meta")).key(self.keys.ask(id));
        let call = known.iter().fold(call, |call, answer| call.arg(answer.replica.as_str()));
        let mut fields = self.run(self.timed(call)).await?;
        let (_, stamp) = fields.head()?;
        let mut answers = Vec::new();
        while fields.left() > 0 {
            answers.push(Answered {
                replica: fields.parsed("a replica's id", |id| ReplicaId::new(id).ok())?,
                at_ms: fields.number("a time")?,
                text: fields.text("an answer")?,
            });
        }
        Ok((stamp, answers))
    }

    /// Ends a question: its answers go at once, and later ones are not taken. `false` when it was over.
    pub async fn end_question(&self, id: &OwnerId) -> Result<bool, StoreError> {
        let call = Call::new(&END_QUESTION).key(self.keys.named("meta")).key(self.keys.ask(id));
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let ended = match code.as_str() {
            "OK" => true,
            "NONE" => false,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_survive_the_way_through_the_store() {
        let cancel = Question::Cancel(RequestName::new("req_1").unwrap());
        for question in [Question::LiveRequests, cancel] {
            assert_eq!(question.to_string().parse(), Ok(question));
        }
        for text in ["", "cancel", "cancel ", "cancel a b", "live x", "restart"] {
            assert_eq!(text.parse::<Question>(), Err(InvalidId), "{text}");
        }
    }
}
