use super::*;
use crate::agent::strategy::Style;
use crate::agent::tool::Manifest;

fn tools() -> Vec<Manifest> {
    let tool = |name: &str, properties: Json| {
        let required: Vec<String> = properties.as_object().unwrap().keys().cloned().collect();
        let parameters =
            json!({ "type": "object", "properties": properties, "required": required });
        serde_json::from_value(json!({ "name": name, "description": "", "parameters": parameters }))
            .unwrap()
    };
    vec![
        tool("weather", json!({ "city": { "type": "string" } })),
        tool(
            "convert",
            json!({ "value": { "type": "number" }, "from": { "type": "string" }, "to": { "type": "string" } }),
        ),
        tool("calculator", json!({ "expression": { "type": "string" } })),
    ]
}

fn read(text: &str) -> Result<Plan, String> {
    let (tools, style) = (tools(), Style::default());
    let goal = Goal {
        messages: &[],
        tools: &tools,
        style: &style,
    };
    Plan::read(text, &goal)
}

#[test]
fn the_prompts_are_those_that_the_pair_was_trained_on() {
    let trained = include_str!("../../../models/train/generate/agents.py");
    let text = |name: &str| {
        let text = trained.split(&format!("{name} = \"\"\"")).nth(1).unwrap();
        text.split("\"\"\"")
            .next()
            .unwrap()
            .replace("{{", "{")
            .replace("}}", "}")
            .replace("{tools}", "")
    };
    assert_eq!(PLANNER, text("REWOO_PLANNER_SYSTEM"));
    assert_eq!(SOLVER, text("REWOO_SOLVER_SYSTEM"));
}

#[test]
fn plans_are_read_as_they_are_written() {
    let text = "Plan: Find the weather.\n#E1 = weather[{\"city\": \"Oslo [Norway]\"}]\n\nPlan: Convert it.\n#E2 = convert[{\"value\": \"#E1\", \"from\": \"celsius\",\n \"to\": \"fahrenheit\"}]";
    let plan = read(text).unwrap();
    assert_eq!(plan.steps.len(), 2);
    assert_eq!(plan.steps[0].arguments, json!({ "city": "Oslo [Norway]" }));
    assert_eq!(plan.steps[1].needs, [1]);
    assert_eq!(plan.steps[1].what, "Convert it.");
    // Written again it is the form it was trained in.
    let written = plan.write(&[Some("4 °C".into()), None]);
    assert_eq!(
        written,
        "Plan: Find the weather.\n#E1 = weather[{\"city\": \"Oslo [Norway]\"}]\nEvidence: 4 °C\n\
         Plan: Convert it.\n#E2 = convert[{\"value\": \"#E1\", \"from\": \"celsius\", \"to\": \"fahrenheit\"}]"
    );
    let loose = read("#E1 = weather[Oslo]\n#E2=calculator[\"2 + #E1\"]").unwrap();
    assert_eq!(loose.steps[0].arguments, json!({ "city": "Oslo" }));
    assert_eq!(loose.steps[1].arguments, json!({ "expression": "2 + #E1" }));
}

#[test]
fn plans_that_cannot_be_carried_out_say_why() {
    for (text, what) in [
        ("", "there is no call in the plan"),
        ("Plan: think", "there is no call in the plan"),
        ("#E2 = weather[Oslo]", "#E2 stands where #E1 is due"),
        ("#E1 = weather[#E1]", "#E1 uses evidence that comes later"),
        ("#E1 = weather[#E0]", "#E1 uses evidence that comes later"),
        (
            "#E1 = wether[Oslo]",
            "there is no tool \"wether\"; there is weather, convert, calculator",
        ),
        ("#E1 = weather", "#E1 is not written as tool[arguments]"),
        (
            "#E1 = convert[3 km]",
            "#E1 has arguments that are not a JSON object",
        ),
        ("#E1 = convert[{\"value\": 3}]", "#E1: \"from\" is missing"),
        (
            "#E1 = convert[{\"value\": \"x\", \"from\": \"km\", \"to\": \"m\"}]",
            "#E1: \"value\" must be a number",
        ),
        (
            "#E1 = weather[{\"city\": \"a\", \"url\": \"b\"}]",
            "#E1: \"url\" is not an argument of this tool",
        ),
    ] {
        assert_eq!(read(text).unwrap_err(), what, "{text}");
    }
    let long: String = (1..=13)
        .map(|i| format!("#E{i} = weather[Oslo]\n"))
        .collect();
    assert!(read(&long).unwrap_err().contains("more than 12"));
    for hostile in [
        "#E",
        "#E1",
        "#E1 =",
        "#E1 = [",
        "#E1 = weather[",
        "#E1 = weather]",
        "#E99999999999999999999 = x[]",
        "#E1 = weather[{\"city\"",
        "#E1 = é[ü]",
    ] {
        assert!(read(hostile).is_err(), "{hostile}");
    }
}

#[test]
fn evidence_takes_its_variable_s_place() {
    let weather = "{\"city\": \"Oslo\", \"temperature_c\": -4.5, \"humidity\": 81}";
    let evidence = [weather.to_string(), "Founded in 1048.".to_string()];
    let schema = json!({ "value": { "type": "number" }, "expression": { "type": "string" } });
    let fill = |arguments: Json| super::fill(&arguments, Some(&schema), &evidence);
    assert_eq!(fill(json!({ "value": "#E1" })), json!({ "value": -4.5 }));
    assert_eq!(
        fill(json!({ "expression": "2026 - #E2" })),
        json!({ "expression": "2026 - 1048" })
    );
    assert_eq!(
        fill(json!({ "expression": "#E2" })),
        json!({ "expression": "Founded in 1048." })
    );
    assert_eq!(
        fill(json!({ "expression": "#E9 + 1" })),
        json!({ "expression": " + 1" })
    );
    // What evidence says is not read for variables again.
    let looping = ["#E1 #E2".to_string()];
    assert_eq!(
        super::fill(&json!({ "x": "#E1" }), None, &looping),
        json!({ "x": "#E1 #E2" })
    );
    for (text, number) in [
        ("a1b 2.", Some(json!(2))),
        ("v1.2 x", None),
        ("-3e", Some(json!(-3))),
        ("007", Some(json!(7))),
        ("", None),
        ("1.2.3", Some(json!(1.2))),
    ] {
        assert_eq!(first_number(text), number, "{text}");
    }
}
