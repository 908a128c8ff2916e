import { loader } from "../loader/loader";

export default loader();
