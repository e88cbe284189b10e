//! Plays the transcripts against sessions in memory, over every engine.

use mcache_conformance::{memory_houses, play_all, transcripts};

#[test]
fn sessions_answer_as_written() {
    for house in memory_houses() {
        for topic in house.topics() {
            let report = play_all(&*house, &transcripts(topic).unwrap());
            let (name, failures) = (house.name(), report.failures.join("\n"));
            assert!(report.failed == 0, "{name}: {}\n{failures}", report.summary());
            assert!(report.passed > 0, "{name}: nothing of {topic} was played");
        }
    }
}
