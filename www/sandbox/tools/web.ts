import type { ToolManifest } from "../../lib/agent.ts";

/** Weather now, from Open-Meteo: where the city is, then how it is there. */
export const weather: ToolManifest = {
  name: "weather",
  description: "Current weather in a city",
  parameters: {
    type: "object",
    properties: { city: { type: "string", minLength: 1, maxLength: 80 } },
    required: ["city"],
  },
  origins: ["https://geocoding-api.open-meteo.com", "https://api.open-meteo.com"],
  requests: [
    {
      name: "place",
      url: "https://geocoding-api.open-meteo.com/v1/search?name={city}&count=1&language=en&format=json",
      slots: { city: { type: "text", max_chars: 80 } },
    },
    {
      name: "now",
      url: "https://api.open-meteo.com/v1/forecast?latitude={latitude}&longitude={longitude}&current=temperature_2m,relative_humidity_2m,weather_code,wind_speed_10m",
      slots: {
        latitude: { type: "number", min: -90, max: 90, decimals: 2 },
        longitude: { type: "number", min: -180, max: 180, decimals: 2 },
      },
    },
  ],
  code: `const SKIES = { 0: "clear sky", 1: "mostly clear", 2: "partly cloudy", 3: "overcast", 45: "fog", 48: "fog", 51: "light drizzle", 53: "drizzle", 55: "drizzle",
  56: "freezing drizzle", 57: "freezing drizzle", 61: "light rain", 63: "rain", 65: "heavy rain", 66: "freezing rain", 67: "freezing rain", 71: "light snow",
  73: "snow", 75: "heavy snow", 77: "snow grains", 80: "rain showers", 81: "rain showers", 82: "heavy showers", 85: "snow showers", 86: "snow showers",
  95: "thunderstorm", 96: "thunderstorm with hail", 99: "thunderstorm with hail" };
self.tool = async ({ city }, ctx) => {
  const found = JSON.parse((await ctx.fetch("place", { city })).text).results;
  if (!Array.isArray(found) || !found.length) throw new Error("there is no city " + JSON.stringify(city));
  const { name, latitude, longitude } = found[0];
  const now = JSON.parse((await ctx.fetch("now", { latitude, longitude })).text).current;
  return {
    city: String(name),
    temperature_c: Math.round(Number(now.temperature_2m)),
    conditions: SKIES[now.weather_code] ?? "unknown",
    wind_kmh: Math.round(Number(now.wind_speed_10m)),
    humidity: Math.round(Number(now.relative_humidity_2m)),
  };
};`,
};

/** The beginning of an article of Wikipedia's. */
export const encyclopedia: ToolManifest = {
  name: "encyclopedia",
  description: "The first paragraph of an encyclopedia article",
  parameters: {
    type: "object",
    properties: { title: { type: "string", minLength: 1, maxLength: 120 } },
    required: ["title"],
  },
  origins: ["https://en.wikipedia.org"],
  requests: [
    {
      name: "article",
      url: "https://en.wikipedia.org/w/api.php?action=query&prop=extracts&exintro=1&explaintext=1&redirects=1&format=json&formatversion=2&origin=*&titles={title}",
      slots: { title: { type: "text", max_chars: 120 } },
    },
  ],
  code: `self.tool = async ({ title }, ctx) => {
  const { query } = JSON.parse((await ctx.fetch("article", { title })).text);
  const page = query && query.pages && query.pages[0];
  if (!page || page.missing || !page.extract) throw new Error("there is no article " + JSON.stringify(title));
  return String(page.extract).split("\\n")[0];
};`,
};

/** The text of a page that lets other pages read it (most do not: a browser asks first). */
export const webPage: ToolManifest = {
  name: "web_page",
  description: "The text of a web page",
  parameters: {
    type: "object",
    properties: { url: { type: "string", maxLength: 2000 } },
    required: ["url"],
  },
  origins: ["*"],
  requests: [{ name: "page", url: "{url}", slots: { url: { type: "url" } } }],
  result: "html",
  code: `self.tool = async ({ url }, ctx) => {
  const { status, text } = await ctx.fetch("page", { url });
  if (status >= 400) throw new Error("the server answers " + status);
  return text;
};`,
};
