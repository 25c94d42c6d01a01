define i32 @kernel(ptr %launch, i64 %begin, i64 %end) nounwind "prefer-vector-width"="256" {
entry:
  %v3 = getelementptr i8, ptr %launch, i64 8
  %v4 = load ptr, ptr %v3
  %v5 = getelementptr i64, ptr %v4, i64 0
  %v6 = load i64, ptr %v5
  %v12 = mul i64 4, %v6
  %v13 = mul i64 4, %v6
  %v14 = add i64 %v12, %v13
  %v15 = mul i64 4, %v6
  %v16 = add i64 %v14, %v15
  %v17 = icmp sge i64 %v16, 50331648
  %v21 = alloca i64, align 64
  %v22 = alloca i64, align 64
  %v26 = getelementptr i8, ptr %launch, i64 0
  %v27 = load ptr, ptr %v26
  %v28 = getelementptr ptr, ptr %v27, i64 2
  %v29 = load i64, ptr %v28
  %v40 = getelementptr ptr, ptr %v27, i64 0
  %v41 = load ptr, ptr %v40
  %v44 = getelementptr ptr, ptr %v27, i64 1
  %v45 = load ptr, ptr %v44
  %v49 = getelementptr ptr, ptr %v27, i64 2
  %v50 = load ptr, ptr %v49
  br label %start
start:
  %v1 = mul i64 %begin, 1024
  %v2 = mul i64 %end, 1024
  %v7 = call i64 @llvm.smin.i64(i64 %v2, i64 %v6)
  %v8 = icmp slt i64 %v1, %v7
  br i1 %v8, label %then9, label %done10
then9:
  br label %walk11
walk11:
  %v18 = sub i64 %v7, %v1
  %v19 = and i64 %v18, -32
  %v20 = add i64 %v1, %v19
  store i64 %v1, ptr %v21
  store i64 %v20, ptr %v22
  br i1 %v17, label %then23, label %done24
then23:
  %v25 = mul i64 %v1, 4
  %v30 = add i64 %v29, %v25
  %v31 = and i64 %v30, 63
  %v32 = icmp eq i64 %v31, 0
  %v33 = and i1 %v17, %v32
  br i1 %v33, label %then34, label %done35
then34:
  %v39 = icmp slt i64 %v1, %v20
  br i1 %v39, label %loop36, label %done37
loop36:
  %i38 = phi i64 [%v1, %then34], [%v52, %loop36]
  %v42 = getelementptr float, ptr %v41, i64 %i38
  %v43 = load <32 x float>, ptr %v42, align 4
  %v46 = getelementptr float, ptr %v45, i64 %i38
  %v47 = load <32 x float>, ptr %v46, align 4
  %v48.1 = fadd <32 x float> %v43, %v47
  %v51 = getelementptr float, ptr %v50, i64 %i38
  store <32 x float> %v48.1, ptr %v51, align 64, !nontemporal !0
  %v52 = add i64 %i38, 32
  %v53 = icmp slt i64 %v52, %v20
  br i1 %v53, label %loop36, label %done37
done37:
  br label %done35
done35:
  %v54 = select i1 %v33, i64 %v20, i64 %v1
  store i64 %v54, ptr %v21
  %v55 = select i1 %v33, i64 %v20, i64 %v20
  store i64 %v55, ptr %v22
  br label %done24
done24:
  %v56 = load i64, ptr %v21
  %v57 = load i64, ptr %v22
  %v61 = icmp slt i64 %v56, %v57
  br i1 %v61, label %loop58, label %done59
loop58:
  %i60 = phi i64 [%v56, %done24], [%v68, %loop58]
  %v62 = getelementptr float, ptr %v41, i64 %i60
  %v63 = load <32 x float>, ptr %v62, align 4
  %v64 = getelementptr float, ptr %v45, i64 %i60
  %v65 = load <32 x float>, ptr %v64, align 4
  %v66.1 = fadd <32 x float> %v63, %v65
  %v67 = getelementptr float, ptr %v50, i64 %i60
  store <32 x float> %v66.1, ptr %v67, align 4
  %v68 = add i64 %i60, 32
  %v69 = icmp slt i64 %v68, %v57
  br i1 %v69, label %loop58, label %done59
done59:
  %v73 = icmp slt i64 %v57, %v7
  br i1 %v73, label %loop70, label %done71
loop70:
  %i72 = phi i64 [%v57, %done59], [%v86, %loop70]
  %v74 = sub i64 %v7, %i72
  %v75 = call i64 @llvm.smin.i64(i64 %v74, i64 8)
  %v76 = trunc i64 %v75 to i32
  %v77 = insertelement <8 x i32> poison, i32 %v76, i64 0
  %v78 = shufflevector <8 x i32> %v77, <8 x i32> poison, <8 x i32> zeroinitializer
  %v79 = icmp ult <8 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>, %v78
  %v80 = getelementptr float, ptr %v41, i64 %i72
  %v81 = call <8 x float> @llvm.masked.load.v8f32.p0(ptr %v80, i32 4, <8 x i1> %v79, <8 x float> zeroinitializer)
  %v82 = getelementptr float, ptr %v45, i64 %i72
  %v83 = call <8 x float> @llvm.masked.load.v8f32.p0(ptr %v82, i32 4, <8 x i1> %v79, <8 x float> zeroinitializer)
  %v84.1 = fadd <8 x float> %v81, %v83
  %v85 = getelementptr float, ptr %v50, i64 %i72
  call void @llvm.masked.store.v8f32.p0(<8 x float> %v84.1, ptr %v85, i32 4, <8 x i1> %v79)
  %v86 = add i64 %i72, 8
  %v87 = icmp slt i64 %v86, %v7
  br i1 %v87, label %loop70, label %done71
done71:
  br label %done10
done10:
  br i1 %v17, label %then88, label %done89
then88:
  call void @llvm.x86.sse.sfence()
  br label %done89
done89:
  ret i32 0
}
declare i64 @llvm.smin.i64(i64, i64)
declare <8 x float> @llvm.masked.load.v8f32.p0(ptr, i32, <8 x i1>, <8 x float>)
declare void @llvm.masked.store.v8f32.p0(<8 x float>, ptr, i32, <8 x i1>)
declare void @llvm.x86.sse.sfence()
!0 = !{i32 1}
