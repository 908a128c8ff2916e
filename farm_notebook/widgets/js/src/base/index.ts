/** What panels are made of. */

export { useAction, type Action } from "./action";
export { Button, type ButtonProps } from "./button";
export * as formats from "./formats";
export { CallError, Host, PartHost, uniqueId, type Connection, type Problem } from "./host";
export { useUniqueId } from "./ids";
export { mount, mountPart, type PanelProps, type PartProps } from "./mount";
export { BackgroundError, BusyNote, Dismiss, ErrorNote } from "./notes";
export { View } from "./view";
export { watchVisibility } from "./visibility";
