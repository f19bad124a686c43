import { defineConfig } from "@playwright/test";

const chromium = process.env["TANDEM_CHROMIUM"];

export default defineConfig({
  testDir: "../tests/page",
  outputDir: "test-results",
  // Software adapters and two cores: slow is not broken.
  timeout: 180_000,
  expect: { timeout: 60_000 },
  workers: 1,
  forbidOnly: true,
  use: {
    baseURL: process.env["TANDEM_URL"] ?? "http://127.0.0.1:8123/",
    launchOptions: {
      ...(chromium ? { executablePath: chromium } : {}),
      args: [
        "--no-sandbox",
        "--enable-unsafe-webgpu",
        "--use-webgpu-adapter=swiftshader",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
      ],
    },
  },
});
