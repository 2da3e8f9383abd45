//! Several questions in one are told apart; one stays whole.

use trine_text::questions::{MAX_PARTS, split};

#[test]
fn several_questions_are_told_apart() {
    let cases: &[(&str, &[&str])] = &[
        // Conjunctions.
        (
            "What is WASI and how do I compile for wasm32?",
            &["What is WASI", "how do I compile for wasm32?"],
        ),
        (
            "Who approves travel, and when are expenses paid?",
            &["Who approves travel", "when are expenses paid?"],
        ),
        (
            "who founded the library and when was the workshop built",
            &["who founded the library", "when was the workshop built"],
        ),
        (
            "How much does membership cost and where can I sign up?",
            &["How much does membership cost", "where can I sign up?"],
        ),
        (
            "What's the deposit for a power tool and how long may a hand tool be kept?",
            &["What's the deposit for a power tool", "how long may a hand tool be kept?"],
        ),
        (
            "Where is the counter and can I park a van there?",
            &["Where is the counter", "can I park a van there?"],
        ),
        (
            "Is Spin free and does the CLI run on Windows?",
            &["Is Spin free", "does the CLI run on Windows?"],
        ),
        (
            "How do I create an account, and what are the password rules?",
            &["How do I create an account", "what are the password rules?"],
        ),
        (
            "Can you explain what a component is and how modules are linked?",
            &["Can you explain what a component is", "how modules are linked?"],
        ),
        (
            "Please tell me who maintains etcd and which license applies.",
            &["Please tell me who maintains etcd", "which license applies."],
        ),
        (
            "In Rust, what is a trait object and how does dynamic dispatch work?",
            &["In Rust, what is a trait object", "how does dynamic dispatch work?"],
        ),
        (
            "Explain the raft protocol and describe leader election",
            &["Explain the raft protocol", "describe leader election"],
        ),
        (
            "What does AC-2(1) require and what does AC-3 require?",
            &["What does AC-2(1) require", "what does AC-3 require?"],
        ),
        (
            "How do I roll back a deployment as a user and also how do I see the logs?",
            &["How do I roll back a deployment as a user", "how do I see the logs?"],
        ),
        (
            "What is a histogram & how are quantiles estimated?",
            &["What is a histogram", "how are quantiles estimated?"],
        ),
        (
            "I would like to know who chairs the board and when meetings take place",
            &["I would like to know who chairs the board", "when meetings take place"],
        ),
        (
            "python how to read a csv file and how to write json",
            &["python how to read a csv file", "how to write json"],
        ),
        (
            "What is the telework policy plus who signs the agreement?",
            &["What is the telework policy", "who signs the agreement?"],
        ),
        (
            "Can flutter be predicted in theory, and if so, what is the number of modes?",
            &["Can flutter be predicted in theory", "what is the number of modes?"],
        ),
        // Three and more.
        (
            "Who wrote the report, when was the draft sent and where are the minutes kept?",
            &["Who wrote the report", "when was the draft sent", "where are the minutes kept?"],
        ),
        (
            "What is Prometheus, how are targets scraped, and why does an alert fire twice?",
            &["What is Prometheus", "how are targets scraped", "why does an alert fire twice?"],
        ),
        // Semicolons and lists.
        (
            "What is a lease; how long does a lease last; who can revoke leases?",
            &["What is a lease", "how long does a lease last", "who can revoke leases?"],
        ),
        (
            "1. What is a snapshot?\n2. How do I restore a backup?\n3. Where are logs written?",
            &["What is a snapshot?", "How do I restore a backup?", "Where are logs written?"],
        ),
        (
            "- What does tar -x do?\n- How do I list files?",
            &["What does tar -x do?", "How do I list files?"],
        ),
        (
            "1) What is borrowing? 2) What are lifetimes?",
            &["What is borrowing?", "What are lifetimes?"],
        ),
        (
            "(a) what is a key value store, (b) how are keys compacted",
            &["what is a key value store", "how are keys compacted"],
        ),
        // Sentences.
        (
            "What is the leave policy? Who approves overtime?",
            &["What is the leave policy?", "Who approves overtime?"],
        ),
        (
            "What problems arise in making descriptive titles? What difficulties are involved in retrieving articles automatically?",
            &[
                "What problems arise in making descriptive titles?",
                "What difficulties are involved in retrieving articles automatically?",
            ],
        ),
        (
            "The build fails with ERR_503. What does the code mean? Where do I report bugs?",
            &["The build fails with ERR_503. What does the code mean?", "Where do I report bugs?"],
        ),
        (
            "Is the workshop open on Monday? I come by train. Where is the station? Thank you!",
            &[
                "Is the workshop open on Monday?",
                "I come by train. Where is the station? Thank you!",
            ],
        ),
        ("什么是组件？如何编译它们？", &["什么是组件？", "如何编译它们？"]),
    ];
    for (question, parts) in cases {
        assert_eq!(split(question), *parts, "{question}");
    }
}

/// A part about "it" is nothing without the question that says what.
#[test]
fn a_part_that_refers_back_begins_with_what_it_refers_to() {
    let cases: &[(&str, &[&str])] = &[
        (
            "What is WASI and how do I enable it?",
            &["What is WASI", "What is WASI and how do I enable it?"],
        ),
        (
            "What is X? How does it work? Who runs the server?",
            &["What is X?", "What is X? How does it work?", "Who runs the server?"],
        ),
        (
            "How much do automated libraries cost? Are they worth it to the researcher?",
            &[
                "How much do automated libraries cost?",
                "How much do automated libraries cost? Are they worth it to the researcher?",
            ],
        ),
        (
            "What is a lease and how long does it take to expire keys?",
            &["What is a lease", "how long does it take to expire keys?"],
        ),
    ];
    for (question, parts) in cases {
        assert_eq!(split(question), *parts, "{question}");
    }
}

#[test]
fn one_question_stays_whole() {
    for question in [
        "Who brings bread and butter?",
        "What is the difference between a module and a component?",
        "What is the difference between how modules work and how components work?",
        "When and where is the next repair evening?",
        "Do you know when and how the vehicle will stop tumbling?",
        "How, when and why did the Roman empire fall?",
        "Which tools may members borrow and take home?",
        "How do I install Spin and deploy an application?",
        "What are the rules for members who pay monthly and who have a key?",
        "What is the status of servers which are idle and which have no lease?",
        "Plate tectonics is the coupling between rigid plates on the surface of the Earth and what?",
        "Ctenophores, cnidarians and what other group are labelled diploblastic?",
        "Petrologists identify rock samples in the field and where else?",
        "Imperialism extends a country's power and what?",
        "Paramount paid for 10 Cloverfield Lane and which other film trailer to be aired during the game?",
        "The library, which is closed on Monday, and what else is near the station?",
        "What happens when a guest traps and the host has no memory left?",
        "When the guest traps and when the host stops, what is logged?",
        "If a token expires, what does the server answer?",
        "What does the error \"who are you and what do you want\" mean?",
        "What does `what is it; how is it` print in the shell?",
        "What is said in (who pays and when does the shop open) of the rules?",
        "Is it free or do I have to pay?",
        "How many miles, once completed, will the trail cover?",
        "What month, every four years, are the ordinary general elections held on?",
        "Who, with Jim Nantz, was a member of the broadcast team?",
        "Do nomograms designed to predict recurrence (BCR) do a better job of predicting outcomes?",
        "What is the capital of France? Thanks a lot!",
        "Why? Because the build is red, what now?",
        "What is etcd? Why?",
        "Explain sets and list comprehensions",
        "search and replace in vim",
        "bread and butter; salt and pepper",
        "--flag-name and ERR_503",
        "and what?",
        "python check if a variable is iterable",
        "how to make functions that returns a function python",
        "Travel must be approved beforehand. It is urgent.",
        "what is the effect of heat transfer, and of slight rarefaction, on boundary layer flows",
        "Who was Otto von Bismarck and his wife?",
        "¿Qué es WASI y cómo se compila?",
        "¿",
        "   ",
        "",
    ] {
        assert_eq!(split(question), [question.trim()], "{question}");
    }
}

#[test]
fn there_are_never_more_parts_than_allowed() {
    let many = "What is this thing here? ".repeat(500);
    let parts = split(&many);
    assert_eq!(parts.len(), MAX_PARTS);
    assert!(parts[MAX_PARTS - 1].len() > many.len() - 200, "the last has the rest");
    let joined = format!("What is a lease{}", " and how do I get one".repeat(700));
    assert_eq!(split(&joined).len(), MAX_PARTS);
}

/// Whatever is asked, parts are slices of it that are not empty.
#[test]
fn no_question_breaks_the_rules() {
    let pieces = [
        "what", " ", "and", "how", "?", "\"", "(", ")", ";", ",", "\n", "1.", "é", "？", "is",
        "it", "the", "`", "“", "-", "when", "'s", "tell", "me", "\0", "🦀",
    ];
    let mut state = 7u64;
    for _ in 0..20_000 {
        let mut question = String::new();
        for _ in 0..state % 24 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            question.push_str(pieces[(state >> 33) as usize % pieces.len()]);
            if state & 1 << 40 == 0 {
                question.push(' ');
            }
        }
        state = state.wrapping_add(0x9e3779b97f4a7c15);
        let parts = split(&question);
        assert!((1..=MAX_PARTS).contains(&parts.len()), "{question:?}: {parts:?}");
        for part in &parts {
            assert!(question.contains(part), "{question:?}: {parts:?}");
            assert!(parts.len() == 1 || !part.is_empty(), "{question:?}: {parts:?}");
        }
    }
}
