//! What the model looks at: the three views, and attributions beside them.

use serde_json::{Value, json};

use super::fixture::{evaluation, page, rows};
use super::{act, open, silent};

#[test]
fn layers_heads_and_views_show_the_attention_that_was_stored() {
    let rows = rows(400);
    let Some(mut browser) = open(&page(vec![evaluation(&rows)])) else {
        return;
    };
    // Head 2 of layer 2 reads three tokens ahead, which is one back.
    let head = browser.evaluate(
        "await pick('Layer', '1');
        await pick('Head', '1');
        all('#attention .left .token')[1].focus();
        const reads = one('#attention .told').textContent;
        key(document.activeElement, 'ArrowRight');
        const read = one('#attention .told').textContent;
        key(document.activeElement, 'ArrowDown');
        return { reads, read, next: nameOf(document.activeElement), lines: all('#attention .links path').length };",
    );
    assert_eq!(
        head["reads"],
        "stocks reads [CLS] 0.80, stocks 0.07, fell 0.07"
    );
    assert_eq!(
        head["read"],
        "stocks is read by fell 0.80, [CLS] 0.07, stocks 0.07"
    );
    assert_eq!(head["next"], "fell, is read");
    assert_eq!(head["lines"], 4);
    // Two heads of one layer, each in its colour: what both read has two lines.
    let several = browser.evaluate(
        "await pick('Head', '-2');
        const names = all('#attention .coloured input').map(nameOf);
        const colours = new Set(all('#attention .links path').map((line) => line.getAttribute('stroke')));
        all('#attention .left .token')[1].focus();
        const both = one('#attention .told').textContent;
        const parts = all('#attention .right .token')[0].querySelectorAll('.part').length;
        one('#attention [name=head-1]').click();
        await frame();
        const left = new Set(all('#attention .links path').map((line) => line.getAttribute('stroke')));
        const about = one('#attention .heads').getAttribute('aria-label');
        one('#attention [name=head-2]').click();
        await frame();
        const none = all('#attention .links path').length;
        all('#attention .left .token')[1].focus();
        const nothing = one('#attention .told').textContent;
        await pick('Head', '1');
        return { names, colours: colours.size, both, parts, left: left.size, about, none, nothing, chips: all('#attention .coloured').length };",
    );
    assert_eq!(several["names"], json!(["Head 1", "Head 2"]));
    assert_eq!([&several["colours"], &several["left"]], [2, 1]);
    assert_eq!(
        [&several["parts"], &several["none"], &several["chips"]],
        [2, 0, 0]
    );
    let both = several["both"].as_str().unwrap();
    assert!(
        both.starts_with("stocks reads")
            && both.contains("[CLS] 0.80 (head 2)")
            && both.contains("(head 1)"),
        "{both}"
    );
    assert_eq!(several["nothing"], "stocks reads nothing");
    let about = several["about"].as_str().unwrap();
    assert!(about.contains("layer 2, head 2."), "{about}");
    let model = browser.evaluate(
        "one('#attention input[value=model]').click();
        await frame();
        const names = all('#attention .thumb').map(nameOf);
        const painted = all('#attention canvas').filter((one) => one.getContext('2d').getImageData(0, 0, one.width, one.height).data.some(Boolean)).length;
        all('#attention .thumb')[1].click();
        await frame();
        return { names, painted, layer: one('#attention [name=layer]').value, head: one('#attention [name=head]').value, view: one('#attention .switch input:checked').value };",
    );
    assert_eq!(
        model["names"],
        json!([
            "Layer 1, head 1",
            "Layer 1, head 2",
            "Layer 2, head 1",
            "Layer 2, head 2"
        ])
    );
    assert_eq!(model["painted"], 4);
    assert_eq!(
        [&model["layer"], &model["head"], &model["view"]],
        ["0", "1", "head"]
    );
    let matrix = browser.evaluate(
        "one('#attention input[value=matrix]').click();
        await frame();
        key(one('#attention .board'), 'ArrowDown');
        key(one('#attention .board'), 'ArrowRight');
        key(one('#attention .board'), 'ArrowRight');
        const cell = one('#attention .told').textContent;
        await pick('Head', '-1');
        key(one('#attention .board'), 'ArrowRight');
        return { cell, mean: one('#attention .told').textContent };",
    );
    assert_eq!(matrix["cell"], "stocks reads fell: 0.800");
    // The heads of layer 1 read the token itself and the next: half of 0.8 and half of 0.067.
    assert_eq!(matrix["mean"], "[CLS] reads stocks: 0.433");
    silent(&mut browser);
}

#[test]
fn attributions_state_their_sum_and_stand_beside_the_warning() {
    let rows = rows(400);
    let mut evaluation = evaluation(&rows);
    evaluation.explanations[1]["attention"] = Value::Null;
    evaluation.explanations[1]["why_no_attention"] = json!("the text has 900 tokens");
    let Some(seen) = act(
        &page(vec![evaluation]),
        "const sum = () => one('#attention .sum').textContent;
        const integrated = [sum(), texts('#attention .diverging .what'), texts('#attention .diverging .amount')];
        one('#attention input[value=gradient_x_input]').click();
        const other = sum();
        const words = texts('#attention .word');
        const options = texts('#attention select option');
        await pick('Row', '1');
        return { integrated, other, words, rows: options, pieces: one('#attention .tokens').textContent, about: one('#attention .attributions .note').textContent, note: one('#attention .note').textContent, none: one('#attention .empty').textContent };",
    ) else {
        return;
    };
    let sum = seen["integrated"][0].as_str().unwrap();
    assert!(sum.starts_with("The parts sum to 0.51; the output goes from 0.25 without the text to 0.75 with it, a difference of 0.5. What is left over: 0.01"), "{sum}");
    assert_eq!(
        seen["integrated"][1],
        json!(["stocks", "fell", "[CLS]", "[SEP]"])
    );
    assert_eq!(seen["integrated"][2][1], "−0.1");
    assert!(
        seen["other"]
            .as_str()
            .unwrap()
            .starts_with("The parts sum to 0.1, which need not"),
        "{seen}"
    );
    assert_eq!(seen["words"], json!(["[CLS]", "stocks", "fell", "[SEP]"]));
    assert!(
        seen["note"]
            .as_str()
            .unwrap()
            .starts_with("Attention alone does not explain"),
        "{seen}"
    );
    assert_eq!(seen["none"], "the text has 900 tokens");
    // Where a token stands is not always known: the text is, and signs tell what is one word.
    assert!(
        seen["rows"][1]
            .as_str()
            .unwrap()
            .contains("(wrong): Text 20 of World"),
        "{seen}"
    );
    assert_eq!(seen["pieces"], "[CLS] stocks [SEP]");
    assert_eq!(
        seen["about"],
        "The attributions are of a probability. Of the tokens stock, s."
    );
}
