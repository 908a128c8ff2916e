import "../base/base.css";
import "../markdown/markdown.css";
import "../chat/chat.css";
import "../gpu/gpu.css";
import "../health/health.css";
import "../models/models.css";
import "../usage/usage.css";
import "../dashboard/dashboard.css";
import { mount } from "../base";
import { Dashboard } from "../dashboard/dashboard";

export default mount(Dashboard);
