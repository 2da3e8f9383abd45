//! What the model is asked: numbered passages, then the question.

use crate::bindings::exports::trine::rag::generator::{GenerationOptions, Message as Said, Order};
use crate::bindings::trine::inference::generation::{Input, Message, Options, Sampling, Session};
use crate::bindings::trine::rag::types::{Error, Ranked};

const RULES: &str = "Answer the question from the numbered passages, and from nothing else. After \
    each sentence, write the number of the passage that it rests on in square brackets, like [1]. \
    If the passages do not hold the answer, say so in one sentence. Be brief.";

/// Tokens that a passage's number and blank lines take at most.
const AROUND: u32 = 16;

/// A prompt that a session has been given.
pub struct Prompt {
    /// How many of the passages it holds: the best ones.
    pub passages: usize,
    /// How it is to be answered.
    pub options: Options,
}

impl Prompt {
    /// Gives `session` as many of the passages, best first, as leave room for the answer.
    pub fn new(
        session: &Session,
        question: &str,
        passages: &[Ranked],
        options: &GenerationOptions,
    ) -> Result<Prompt, Error> {
        let description = session.describe();
        // Half of a short context is for reading.
        let answer = options.max_tokens.clamp(1, (description.context / 2).max(1));
        let room = description.context - answer;
        let texts: Vec<String> = passages.iter().map(shown).collect();
        let writing = &options.writing;
        let shape = |form, count: usize| {
            let passages = arranged(&texts[..count], writing.order);
            let asked = format!("{passages}Question: {question}");
            Shape { form, history: &writing.history, asked }
        };
        let mut form = if description.chat { Form::Chat } else { Form::Plain };
        if description.chat && session.count(&shape(form, 0).input()).is_err() {
            form = Form::ChatWithoutSystem;
        }
        let input = |count| shape(form, count).input();
        let bare = session.count(&input(0))?;
        let mut count = fitting(session, &texts, room.saturating_sub(bare))?;
        let mut tokens = session.count(&input(count))?;
        // What was counted passage by passage may come out longer as a whole.
        while tokens > room && count > 1 {
            count -= 1;
            tokens = session.count(&input(count))?;
        }
        if tokens > room || (count == 0 && !texts.is_empty()) {
            let context = description.context;
            return Err(Error::InvalidInput(format!(
                "`{}` reads {context} tokens: too few for the best passage, what was said before, \
                 and an answer of {answer}",
                description.name
            )));
        }
        session.prefill(&input(count))?;
        let sampling = Sampling {
            temperature: writing.temperature,
            top_k: writing.top_k,
            top_p: writing.top_p,
            min_p: writing.min_p,
            repetition_penalty: writing.repetition_penalty,
            seed: writing.seed,
            logit_bias: writing.logit_bias.clone(),
        };
        let options = Options { max_tokens: answer, stop: writing.stop.clone(), sampling };
        Ok(Prompt { passages: count, options })
    }
}

/// How many of the texts fit into so many tokens together.
fn fitting(session: &Session, texts: &[String], room: u32) -> Result<usize, Error> {
    let mut left = room;
    for (count, text) in texts.iter().enumerate() {
        let tokens = session.count(&Input::Text(text.clone()))?.saturating_add(AROUND);
        match left.checked_sub(tokens) {
            Some(rest) => left = rest,
            // One is tried in any case: around it there may be less than was thought.
            None => return Ok(count.max(1)),
        }
    }
    Ok(texts.len())
}

/// A passage as the model reads it, its number left to the order.
fn shown(ranked: &Ranked) -> String {
    let passage = &ranked.passage;
    let above = std::iter::once(passage.title.as_str())
        .chain(passage.headings.iter().map(String::as_str))
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" > ");
    let text = passage.text.trim();
    if above.is_empty() { text.to_owned() } else { format!("{above}\n{text}") }
}

/// The passages, numbered by rank, each with an empty line behind it.
fn arranged(texts: &[String], order: Order) -> String {
    let numbered = |rank: usize| format!("[{}] {}\n\n", rank + 1, texts[rank]);
    match order {
        Order::BestFirst => (0..texts.len()).map(numbered).collect(),
        Order::BestAtEnds => {
            let front = (0..texts.len()).step_by(2);
            let back = (0..texts.len()).skip(1).step_by(2);
            front.chain(back.collect::<Vec<_>>().into_iter().rev()).map(numbered).collect()
        }
    }
}

/// How a model takes what is said to it.
#[derive(Clone, Copy)]
enum Form {
    Chat,
    /// Its template knows no system: the rules stand before the question.
    ChatWithoutSystem,
    /// It has no template.
    Plain,
}

/// What is said to the model.
struct Shape<'a> {
    form: Form,
    history: &'a [Said],
    asked: String,
}

impl Shape<'_> {
    fn input(&self) -> Input {
        match self.form {
            Form::Chat => Input::Chat(self.messages(true)),
            Form::ChatWithoutSystem => Input::Chat(self.messages(false)),
            Form::Plain => Input::Text(self.plain()),
        }
    }

    fn messages(&self, system: bool) -> Vec<Message> {
        let message = |role: &str, content: String| Message { role: role.to_owned(), content };
        let mut rules = RULES.to_owned();
        for said in self.history.iter().filter(|said| said.role == "system") {
            rules.push_str("\n\n");
            rules.push_str(&said.content);
        }
        let said = self.history.iter().filter(|said| said.role != "system");
        let said = said.map(|said| message(&said.role, said.content.clone()));
        match system {
            true => std::iter::once(message("system", rules))
                .chain(said)
                .chain([message("user", self.asked.clone())])
                .collect(),
            false => said.chain([message("user", format!("{rules}\n\n{}", self.asked))]).collect(),
        }
    }

    fn plain(&self) -> String {
        let messages = self.messages(true).into_iter();
        let mut text: String = messages.map(|message| message.content + "\n\n").collect();
        text.push_str("Answer:");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_passages_stand_at_the_ends() {
        let texts: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
        let order = |order, count: usize| arranged(&texts[..count], order).replace("\n\n", " ");
        assert_eq!(order(Order::BestAtEnds, 5), "[1] a [3] c [5] e [4] d [2] b ");
        assert_eq!(order(Order::BestAtEnds, 2), "[1] a [2] b ");
        assert_eq!(order(Order::BestFirst, 3), "[1] a [2] b [3] c ");
        assert_eq!(order(Order::BestAtEnds, 0), "");
    }
}
