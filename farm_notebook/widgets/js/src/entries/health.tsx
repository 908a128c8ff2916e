import "../base/base.css";
import "../health/health.css";
import { mountPart } from "../base";
import { HealthPanel } from "../health/health";

export default mountPart("health", HealthPanel);
