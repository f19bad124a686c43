/** Where tools run, and the tools that ship. */
export { createSandbox } from "./frames.ts";
export * from "./tools/index.ts";
