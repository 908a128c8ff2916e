import "../base/base.css";
import "../models/models.css";
import { mountPart } from "../base";
import { ModelsPanel } from "../models/models";

export default mountPart("models", ModelsPanel);
