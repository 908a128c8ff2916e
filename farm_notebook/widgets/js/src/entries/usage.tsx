import "../base/base.css";
import "../usage/usage.css";
import { mountPart } from "../base";
import { UsagePanel } from "../usage/usage";

export default mountPart("usage", UsagePanel);
