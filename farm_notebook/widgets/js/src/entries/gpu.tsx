import "../base/base.css";
import "../gpu/gpu.css";
import { mountPart } from "../base";
import { GPUPanel } from "../gpu/gpu";

export default mountPart("gpu", GPUPanel);
