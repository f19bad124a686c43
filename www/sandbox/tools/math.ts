/** Tools that compute with mathjs: a parser and an evaluator of its own, never `eval`. */
import mathjs from "mathjs/lib/browser/math.js?raw";
import type { ToolManifest } from "../../lib/agent.ts";

/** What would let an expression reach further than numbers is taken out first. */
const START = `${mathjs}
const evaluate = math.evaluate, unit = math.unit;
math.createUnit("knot", { definition: "1.852 km/h", aliases: ["knots"] });
math.createUnit("calorie", { definition: "4.184 J", aliases: ["calories"] });
const no = () => { throw new Error("this function is not available"); };
math.import({ import: no, createUnit: no, evaluate: no, parse: no, simplify: no, derivative: no, resolve: no, reviver: no, parser: no, compile: no, help: no, config: no }, { override: true });
`;

/** An arithmetic expression's value. */
export const calculator: ToolManifest = {
  name: "calculator",
  description: "Work out an arithmetic expression",
  parameters: {
    type: "object",
    properties: { expression: { type: "string", minLength: 1, maxLength: 200 } },
    required: ["expression"],
  },
  code: `${START}
self.tool = ({ expression }) => {
  const value = evaluate(String(expression));
  if (typeof value !== "number" || !Number.isFinite(value)) throw new Error("the result is not a number");
  return { result: Number(math.format(value, { precision: 12 })) };
};`,
};

/** A value in another unit. */
export const convert: ToolManifest = {
  name: "convert",
  description: "Convert a value from one unit to another",
  parameters: {
    type: "object",
    properties: { value: { type: "number" }, from: { type: "string", maxLength: 40 }, to: { type: "string", maxLength: 40 } },
    required: ["value", "from", "to"],
  },
  code: `${START}
const NAMES = { celsius: "degC", fahrenheit: "degF", kelvin: "K", "°c": "degC", "°f": "degF", c: "degC", f: "degF", "kilometres": "km", "kilometre": "km", "metres": "m", "metre": "m",
  "centimetres": "cm", "centimetre": "cm", "litres": "L", "litre": "L", "pounds": "lb", "stone": "stone", "nautical miles": "nauticalMile",
  "km/h": "km/h", "mph": "mi/h", "miles per hour": "mi/h", "kilometers per hour": "km/h" };
const named = (name) => NAMES[String(name).trim().toLowerCase()] ?? String(name).trim().toLowerCase().replace(/^degrees? /, "");
self.tool = ({ value, from, to }) => {
  const result = unit(Number(value), named(from)).toNumber(named(to));
  return { value: Number(math.format(result, { precision: 6 })), unit: String(to) };
};`,
};
