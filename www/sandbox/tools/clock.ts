import type { ToolManifest } from "../../lib/agent.ts";

/** The time in a zone, by the browser's own table of them. */
export const clock: ToolManifest = {
  name: "clock",
  description: "Current date and time in an IANA time zone",
  parameters: {
    type: "object",
    properties: { timezone: { type: "string", maxLength: 60 } },
    required: ["timezone"],
  },
  code: `self.tool = ({ timezone }) => {
  const wanted = String(timezone).trim().replace(/ /g, "_");
  const zones = Intl.supportedValuesOf("timeZone").concat("UTC");
  const same = (a, b) => a.toLowerCase() === b.toLowerCase();
  const zone = zones.find((zone) => same(zone, wanted)) ?? zones.find((zone) => same(zone.split("/").pop(), wanted.split("/").pop()));
  if (!zone) throw new Error("there is no time zone " + JSON.stringify(timezone));
  const part = (options) => new Intl.DateTimeFormat("en-GB", { timeZone: zone, ...options }).format(new Date());
  const [day, month, year] = part({ year: "numeric", month: "2-digit", day: "2-digit" }).split("/");
  return {
    timezone: zone,
    time: part({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" }),
    date: year + "-" + month + "-" + day,
    weekday: part({ weekday: "long" }),
  };
};`,
};
