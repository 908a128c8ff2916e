/** What tests of panels use. */

export { FakeKernel, partWith } from "./kernel";
export { button, clear, settle, show } from "./page";
